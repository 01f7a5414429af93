"""One window of 20 columns against a version's profile: seconds and peak memory, beside Evidently's preset.

``python -m benchmarks.window_speed FOLDER ROWS everfit|evidently`` measures in a process of its own and prints JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.figures import Figure
from benchmarks.measuring import clean_environment, python, run_timed
from monitoring.drift.profile import ReferenceProfile, make_profile

NUMERIC = tuple(f"x{number}" for number in range(14))
CATEGORICAL = tuple(f"c{number}" for number in range(6))
_REFERENCE_ROWS = 20_000
_TARGETS = {100_000: 2.0, 1_000_000: 8.0}
_MOST_GIB = 1.5
# Of its larger window Evidently would take minutes.
_EVIDENTLY_ROWS = 100_000
_WARM_ROWS = 2_000
_MOST_ROUNDS = 3


def measure_windows(rounds: int) -> list[Figure]:
    """Measure windows of 100,000 and of 1,000,000 rows, each in processes of its own."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="everfit-window-") as name:
        folder = Path(name)
        write_tables(folder)
        peer = _run(folder, _EVIDENTLY_ROWS, "evidently", 1)
        beside = f"Evidently's DataDriftPreset on {_EVIDENTLY_ROWS:,} rows"
        for n_rows, target in _TARGETS.items():
            found = _run(folder, n_rows, "everfit", min(rounds, _MOST_ROUNDS))
            size = f"{n_rows // 1_000}k" if n_rows < 1_000_000 else f"{n_rows // 1_000_000}m"
            against = f"{found['cpu']:.1f} s of it computing; {beside}: {peer['seconds']:.1f} s ({peer['cpu']:.1f})"
            figures.append(Figure(f"window_seconds_{size}", found["seconds"], "s", f"{against}; target {target:g}"))
            against = f"the whole process; {beside}: {peer['gib']:.2f}; target {_MOST_GIB}"
            figures.append(Figure(f"window_gib_{size}", found["gib"], "GiB", against))
    return figures


def write_tables(folder: Path) -> None:
    """Write a reference with its profile, and the windows."""
    draw = np.random.default_rng(0)
    reference = make_rows(draw, _REFERENCE_ROWS)
    reference.to_parquet(folder / "reference.parquet")
    profile = make_profile(reference, numeric=NUMERIC, categorical=CATEGORICAL)
    (folder / "profile.json").write_text(profile.model_dump_json(), encoding="utf-8")
    for n_rows in (_WARM_ROWS, *_TARGETS):
        make_rows(draw, n_rows).to_parquet(folder / f"{n_rows}.parquet")


def make_rows(draw: np.random.Generator, n_rows: int) -> pd.DataFrame:
    """Make rows with 14 numbers, some with gaps, and 6 categories of 3 to 500 values."""
    rows = {name: draw.gamma(2.0 + number, 1.0, n_rows) for number, name in enumerate(NUMERIC)}
    for name in NUMERIC[:3]:
        rows[name][draw.random(n_rows) < 0.05] = np.nan
    frame = pd.DataFrame(rows)
    for name, n_values in zip(CATEGORICAL, (3, 5, 10, 50, 200, 500), strict=True):
        values = np.array([f"value {number}" for number in range(n_values)], dtype=object)
        frame[name] = values[(n_values * draw.random(n_rows) ** 2).astype(int)]
    return frame


def _run(folder: Path, n_rows: int, by: str, rounds: int) -> dict[str, float]:
    command = python("-m", "benchmarks.window_speed", str(folder), str(n_rows), by)
    found = [json.loads(run_timed(command, clean_environment()).output) for _ in range(rounds)]
    return {name: statistics.median(float(each[name]) for each in found) for name in found[0]}


def _compare(folder: Path, n_rows: int) -> None:
    """Read profile and window, and measure all of it but the page."""
    from monitoring.drift import measure_drift

    profile = ReferenceProfile.model_validate_json((folder / "profile.json").read_bytes())
    measure_drift(profile, pd.read_parquet(folder / f"{n_rows}.parquet"))


def _ask_evidently(folder: Path, n_rows: int) -> None:
    """Read reference and window, and run Evidently's default preset, without its page."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(NUMERIC), categorical_columns=list(CATEGORICAL))
    sides = [
        Dataset.from_pandas(pd.read_parquet(folder / f"{name}.parquet"), definition) for name in (n_rows, "reference")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Report([DataDriftPreset()]).run(sides[0], sides[1]).json()


def main() -> None:
    """Measure once, when all is imported."""
    folder, n_rows, by = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    work: Callable[[Path, int], None] = _compare if by == "everfit" else _ask_evidently
    work(folder, _WARM_ROWS)
    started, computed = time.perf_counter(), time.process_time()
    work(folder, n_rows)
    found = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - computed}
    print(json.dumps(found | {"gib": _peak_gib()}))


def _peak_gib() -> float:
    # Not getrusage: what it says includes the peak of the process that forked this one.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / (1 << 20)


if __name__ == "__main__":
    main()
