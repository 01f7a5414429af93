"""Monitoring: false alarms against the budget, detection, the speed of a window, reactions, and a storm of triggers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from pydantic import SecretStr

from base.monitor_spec import MonitorSpec
from base.settings import Settings
from benchmarks.detection import measure_detection, measure_triage
from benchmarks.figures import Figure
from benchmarks.gate_streams import DATA_SETS, find_data
from benchmarks.postgres_server import PostgresMissing, start_postgres
from benchmarks.quiet_streams import ORDERS, QuietResult, make_quiet_ground, watch_quietly
from benchmarks.reactions import measure_reactions
from benchmarks.trigger_storm import KINDS, Storm, raise_storm
from benchmarks.window_speed import measure_windows

_N_WINDOWS = 1_000
_WINDOW_ROWS = 200
_MOST_ROWS = 40_000
# Evidently takes longer for a window than all of the judgement does.
_EVIDENTLY_SHARE = 0.1
_N_TRIGGERS, _N_PROCESSES = 10_000, 8
_STORM_TARGET = 60.0


def measure(rounds: int) -> list[Figure]:
    """Measure all figures of monitoring; trials are counted, and only what is timed is repeated *rounds* times."""
    figures = []
    folder = find_data()
    if folder is None:
        _say("the shared data sets are not there (EVERFIT_SHARED_DATA); false alarms and detection are left out")
    else:
        _say(f"{_N_WINDOWS:,} quiet windows")
        figures += measure_false_alarms(folder)
        _say("real drift")
        figures += measure_detection(folder)
        _say("planted changes")
        figures += measure_triage()
    _say("large windows")
    figures += measure_windows(rounds)
    _say("a storm of triggers")
    figures += measure_storms()
    _say("webhook and promotion, with `everfit up`")
    figures += measure_reactions(rounds)
    return figures


def measure_false_alarms(folder: Path) -> list[Figure]:
    """Judge windows of streams without drift, rows shuffled and blocks shuffled, and ask Evidently of some."""
    there = [each for each in DATA_SETS if (folder / f"{each.name}.parquet").is_file()]
    results: list[QuietResult] = []
    n_windows = _N_WINDOWS // (len(there) * len(ORDERS))
    for each in there:
        frame = pd.read_parquet(folder / f"{each.name}.parquet")
        for order in ORDERS:
            ground = make_quiet_ground(each, frame, order, n_rows=_WINDOW_ROWS, most_rows=_MOST_ROWS)
            result = watch_quietly(
                ground,
                order,
                n_windows=n_windows,
                n_rows=_WINDOW_ROWS,
                spec=MonitorSpec(window="1 day"),
                n_evidently=int(_EVIDENTLY_SHARE * n_windows),
            )
            _say(
                f"{each.name}, {order}: {result.n_alarms} false alarms {result.kinds or ''}, "
                f"{result.budget:.1f} allowed; Evidently {result.n_evidently} of {result.n_evidently_windows}"
            )
            results.append(result)
    n_all, budget = sum(each.n_windows for each in results), sum(each.budget for each in results)
    n_alarms = sum(each.n_alarms for each in results)
    n_asked = sum(each.n_evidently_windows for each in results)
    n_called = sum(each.n_evidently for each in results)
    n_any = sum(each.n_evidently_any for each in results)
    called = f"half of the columns in {n_called} of {n_asked} of these windows, any column in {n_any}"
    return [
        Figure(
            "false_alarm_ratio_to_budget",
            n_alarms / budget,
            "x",
            f"{n_alarms} alarms in {n_all:,} quiet windows of {_WINDOW_ROWS} rows, {budget:.1f} allowed "
            "(1 per quarter, windows of a day); target 1",
        ),
        Figure(
            "evidently_false_alarm_ratio",
            n_called / n_asked / (budget / n_all),
            "x",
            f"Evidently's default preset calls drifted: {called}; over the same budget",
        ),
    ]


def measure_storms() -> list[Figure]:
    """Raise the storm on SQLite and, where it is installed, on Postgres."""
    storms: dict[str, Storm] = {}
    for name, database in (("sqlite", None), ("postgres", "postgres")):
        with tempfile.TemporaryDirectory(prefix="everfit-storm-") as folder:
            try:
                with _database(database) as url:
                    settings = Settings(home=Path(folder), database_url=url, artifacts_url=None)
                    storms[name] = raise_storm(settings, n_triggers=_N_TRIGGERS, n_processes=_N_PROCESSES)
            except PostgresMissing as missing:
                _say(f"the storm on Postgres is left out: {missing}")
    told = f"{_N_TRIGGERS:,} triggers of {len(KINDS)} kinds from {_N_PROCESSES} processes on {' and '.join(storms)}"
    broken = [name for name, storm in storms.items() if not storm.is_chained]
    figures = [
        Figure("storm_lost", sum(storm.lost for storm in storms.values()), "triggers", f"{told}; target 0"),
        Figure(
            "storm_double_runs",
            sum(storm.double_runs for storm in storms.values()),
            "runs",
            f"beside {sum(storm.n_runs for storm in storms.values())} that began and ended; target 0",
        ),
        Figure("storm_errors", sum(len(storm.errors) for storm in storms.values()), "errors", "at a caller; target 0"),
        Figure("storm_broken_ledgers", len(broken), "ledgers", "whose chain does not hold; target 0"),
    ]
    figures += [
        Figure(
            f"storm_seconds_{name}",
            storm.seconds,
            "s",
            f"{storm.n_triggers / storm.seconds:.0f} triggers a second, {storm.cpu_milliseconds:.1f} ms of CPU each; "
            f"target {_STORM_TARGET:g}",
        )
        for name, storm in storms.items()
    ]
    return figures


@contextmanager
def _database(kind: str | None) -> Iterator[SecretStr | None]:
    if kind is None:
        yield None
        return
    with start_postgres(1) as (url,):
        yield SecretStr(url)


def _say(text: str) -> None:
    print(f"monitoring: {text}", file=sys.stderr, flush=True)
