"""The data path: ten million rows extracted, validated and split beside one DuckDB pass, a day added, views joined."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import point_in_time
from benchmarks.big_table import write_big_pipeline, write_rows
from benchmarks.figures import Figure
from benchmarks.measuring import clean_environment, measure_peak, median_ratio, python, run_timed

N_ROWS = 10_000_000
DAY_ROWS = 30_000
_SHORT_ROWS = 1_000_000
_STEPS = ("extract", "validate_data", "split")


def measure(rounds: int) -> list[Figure]:
    """Measure all figures of the data path, each *rounds* times."""
    with tempfile.TemporaryDirectory(prefix="everfit-benchmark-") as name:
        folder = Path(name)
        _say(f"writing {N_ROWS:,} rows")
        write_big_pipeline(folder / "long", N_ROWS)
        write_big_pipeline(folder / "short", _SHORT_ROWS)
        size = sum(file.stat().st_size for file in (folder / "long" / "data").iterdir())
        whole, floor, floor_seconds, steps, days, short_days = [], [], [], [], [], []
        for number in range(rounds):
            _say(f"round {number + 1} of {rounds}")
            floor.append(run_timed(python("-m", "benchmarks.duckdb_pass", str(folder / "long")), clean_environment()))
            floor_seconds.append(float(json.loads(floor[-1].output)["seconds"]))
            whole.append(run_timed(_path(folder, "long"), clean_environment()))
            shutil.rmtree(folder / "long-home")
            warm = run_timed([*_path(folder, "long"), "--warm"], clean_environment())
            steps.append(json.loads(warm.output)["seconds"])
            run_timed(_path(folder, "short"), clean_environment())
            days.append(_add_day(folder, "long", N_ROWS, number))
            short_days.append(_add_day(folder, "short", _SHORT_ROWS, number))
            _forget(folder)
        _say("memory")
        peak = measure_peak(_path(folder, "long"), clean_environment())
        floor_peak = measure_peak(python("-m", "benchmarks.duckdb_pass", str(folder / "long")), clean_environment())
    seconds = statistics.median(each.seconds for each in whole)
    pass_seconds = statistics.median(each.seconds for each in floor)
    day = statistics.median(days)
    histories = [sum(each.values()) for each in steps]
    history = statistics.median(histories)
    figures = [
        Figure("peak_gib_10m", peak / 1024, "GiB", f"{floor_peak / 1024:.2f} GiB of one DuckDB pass; target 2"),
        Figure(
            "wall_ratio_to_duckdb_pass",
            median_ratio(histories, floor_seconds),
            "x",
            f"Everfit imported: {history:.1f} s beside {statistics.median(floor_seconds):.1f} s; target 3",
        ),
        Figure(
            "wall_ratio_to_duckdb_pass_cold",
            median_ratio([each.seconds for each in whole], [each.seconds for each in floor]),
            "x",
            f"whole processes: {seconds:.1f} s beside {pass_seconds:.1f} s, {size / 1e9:.2f} GB",
        ),
    ]
    figures += [
        Figure(f"{step}_seconds_10m", statistics.median(each[step] for each in steps), "s", "without imports")
        for step in _STEPS
    ]
    figures += [
        Figure("incremental_day_seconds", day, "s", f"extract and validate {DAY_ROWS:,} rows more, without imports"),
        Figure("incremental_day_ratio", day / history, "x", f"{history:.1f} s for the whole history"),
        Figure(
            "incremental_day_growth",
            median_ratio(days, short_days),
            "x",
            f"the same day onto {_SHORT_ROWS:,} rows: 1 is a cost that does not grow with the history",
        ),
    ]
    return [*figures, *point_in_time.measure(rounds)]


def _path(folder: Path, history: str) -> list[str]:
    return python("-m", "benchmarks.data_path", str(folder / history), str(folder / f"{history}-home"))


def _add_day(folder: Path, history: str, n_rows: int, number: int) -> float:
    """Add a day's file, extract and validate what is new, and return the seconds of it."""
    file = folder / history / "data" / f"9{number:03}.parquet"
    write_rows(file, n_rows, DAY_ROWS)
    found = json.loads(run_timed(_path(folder, history), clean_environment()).output)
    file.unlink()
    if found["rows"] != n_rows + DAY_ROWS:
        raise RuntimeError(f"{found['rows']:,} rows after a day was added to {n_rows:,}")
    return float(found["seconds"]["extract"] + found["seconds"]["validate_data"])


def _forget(folder: Path) -> None:
    for history in ("long", "short"):
        shutil.rmtree(folder / f"{history}-home")


def _say(text: str) -> None:
    print(f"data: {text}", file=sys.stderr, flush=True)
