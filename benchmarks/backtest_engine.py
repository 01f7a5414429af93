"""The engine of `everfit backtest`: 45,000 bookings, 100 windows, 8 policies; fits shared, or of each policy its own.

``python -m benchmarks.backtest_engine FOLDER HOME [--own-fits]`` runs it once and prints what it took and decided.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from base.definition import read_pipeline
from base.settings import Settings
from benchmarks.figures import Figure
from benchmarks.gate_streams import find_data
from benchmarks.measuring import clean_environment, python, run_timed
from tasks.backtest.request import BacktestRequest
from tasks.backtest.run import run_backtest

N_ROWS = 45_000
DATA_SET = "hotel_bookings"

_LEAKS = ("reservation_status", "reservation_status_date", "assigned_room_type", "row_seq")
_WINDOW_HOURS = 140
_TARGET_SECONDS, _TARGET_SAVING = 180, 3
_MOST_SECONDS = 3_600.0
_OWN_FITS = "--own-fits"

_DEFINITION = f"""
name: bookings
task: classification
target: is_canceled
time: event_time
extract: {{source: data.parquet, label_delay: 1 day}}
validate_data: {{contract: contract.yaml}}
train:
  estimators:
    - estimator: sklearn.ensemble.HistGradientBoostingClassifier
      parameters: {{max_iter: 100, early_stopping: false}}
monitor: {{window: {_WINDOW_HOURS} hours, min_rows: 50}}
triggers: {{policy: cost-aware, price: 0.2}}
"""


def measure_engine(rounds: int) -> list[Figure]:
    """Run the engine in processes of their own, *rounds* times and in turn; all runs must decide the same.

    Raises
    ------
    RuntimeError
        If a policy decides otherwise where it fits its models itself.
    """
    source = find_data()
    if source is None or not (source / f"{DATA_SET}.parquet").is_file():
        print(f"backtest: {DATA_SET} is not there (EVERFIT_SHARED_DATA); the engine is left out", file=sys.stderr)
        return []
    shared, own = [], []
    with tempfile.TemporaryDirectory(prefix="everfit-backtest-") as name:
        folder = Path(name)
        write_pipeline(source / f"{DATA_SET}.parquet", folder / "bookings")
        for _ in range(rounds):
            shared.append(_run(folder))
            own.append(_run(folder, _OWN_FITS))
            if different := _differences(shared[-1], own[-1]):
                raise RuntimeError(f"fits shared and fits of its own decide differently: {', '.join(different)}")
    return report_engine(shared, own)


def report_engine(shared: list[dict[str, Any]], own: list[dict[str, Any]]) -> list[Figure]:
    """Compare runs that share fits with runs that do not."""
    seconds = statistics.median(each["seconds"] for each in shared)
    cpu, cpu_own = (statistics.median(each["cpu"] for each in runs) for runs in (shared, own))
    saving = statistics.median(b["cpu"] / a["cpu"] for a, b in zip(shared, own, strict=True))
    one = shared[0]
    what = f"{one['n_rows']:,} rows, {one['n_windows']} windows, {one['n_policies']} policies"
    return [
        Figure("seconds_45k", seconds, "s", f"{what}, {one['n_trainings']} trainings; target {_TARGET_SECONDS}"),
        Figure(
            "compute_saving",
            saving,
            "x",
            f"{cpu_own:.0f} s of computing where each policy fits for itself, {cpu:.0f} s here, same decisions; "
            f"target {_TARGET_SAVING}",
        ),
        Figure("fits", one["n_fits"], "fits", f"{own[0]['n_fits']} where each policy fits for itself"),
    ]


def write_pipeline(source: Path, folder: Path, *, n_rows: int = N_ROWS) -> None:
    """Write a definition, its contract and a history evenly thinned in time to *n_rows* rows."""
    folder.mkdir(parents=True)
    frame = pd.read_parquet(source).drop(columns=list(_LEAKS))
    kept = np.linspace(0, len(frame) - 1, min(n_rows, len(frame))).astype(np.intp)
    rows = frame.iloc[kept].reset_index(drop=True)
    rows.to_parquet(folder / "data.parquet")
    (folder / "pipeline.yaml").write_text(_DEFINITION, encoding="utf-8")
    lines = [f"  {name}: {{type: {_type_of(values)}}}" for name, values in rows.items()]
    (folder / "contract.yaml").write_text("\n".join(["columns:", *lines]) + "\n", encoding="utf-8")


def run_once(folder: Path, home: Path, *, shares_fits: bool) -> dict[str, Any]:
    """Run the engine, and tell how many seconds it took by the wall, and what it decided."""
    settings = Settings(home=home, database_url=None, artifacts_url=None)
    began = time.perf_counter()
    result = run_backtest(read_pipeline(folder / "pipeline.yaml"), settings, BacktestRequest(shares_fits=shares_fits))
    seconds = time.perf_counter() - began
    told = {"asked", "ruling", "verdict", "promoted", "loss"}
    return {
        "seconds": seconds,
        "n_rows": result.n_rows,
        "n_windows": result.n_windows,
        "n_policies": len(result.policies),
        "n_trainings": sum(policy.n_trainings for policy in result.policies),
        "n_fits": result.n_fits,
        "decisions": {
            policy.name: [window.model_dump(mode="json", include=told) for window in policy.windows]
            for policy in result.policies
        },
    }


def _type_of(values: pd.Series[Any]) -> str:
    if pd.api.types.is_datetime64_any_dtype(values):
        return "time"
    if pd.api.types.is_integer_dtype(values):
        return "integer"
    return "number" if pd.api.types.is_numeric_dtype(values) else "text"


def _run(folder: Path, *flags: str) -> dict[str, Any]:
    home = folder / "home"
    command = python("-m", "benchmarks.backtest_engine", str(folder / "bookings"), str(home), *flags)
    before = _seconds_of_children()
    try:
        done = run_timed(command, clean_environment(), most_seconds=_MOST_SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return {**json.loads(done.output.splitlines()[-1]), "cpu": _seconds_of_children() - before}


def _seconds_of_children() -> float:
    """Seconds of computing of all processes that this one has started and that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Name the policies whose decisions differ."""
    return [name for name in one["decisions"] if one["decisions"][name] != other["decisions"].get(name)]


if __name__ == "__main__":
    print(json.dumps(run_once(Path(sys.argv[1]), Path(sys.argv[2]), shares_fits=_OWN_FITS not in sys.argv)))
