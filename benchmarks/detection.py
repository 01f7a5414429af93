"""Detection: how late real drift is noticed, and what triage says of planted changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import row_losses
from base.monitor_spec import MonitorSpec
from benchmarks.figures import Figure
from benchmarks.gate_streams import DATA_SETS, DataSet
from benchmarks.planted_changes import ChangeName, Ground, confuse, load_grounds, make_ground, share_right
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.drift import measure_drift
from monitoring.judgement import AlarmMemory, JudgedWindow, judge_window

DRIFTING = ("bike_sharing_hour", "hotel_bookings")
VERDICTS = ("quiet", "harmless", "changed world", "broken data")
_LENGTH = timedelta(days=7)
_SHARES = 0.2, 0.4
# An hour each: a week of bikes has 168 rows, fewer than the default that a window must have.
_FEWEST_ROWS = 100
_N_TRIALS = 8
_TARGET = 0.95


@dataclass(frozen=True)
class Noticed:
    """What was said of a stream that drifts; windows are counted from 1, and None is never.

    ``risen`` is the first window whose loss, and that of the next one, is above the definition's limit: what nobody
    could know before their labels came. ``alarm`` is the first with any alarm, ``asked`` the first that asks for a
    training.
    """

    name: str
    n_windows: int
    risen: int | None
    alarm: int | None
    asked: int | None


def measure_detection(folder: Path) -> list[Figure]:
    """Judge the drifting streams as they are, a week at a time."""
    figures = []
    for each in DATA_SETS:
        if each.name not in DRIFTING or not (folder / f"{each.name}.parquet").is_file():
            continue
        found = notice_drift(each, pd.read_parquet(folder / f"{each.name}.parquet"), MonitorSpec(window="7 days"))
        told = f"first alarm in week {found.alarm}, loss over the limit in week {found.risen}, of {found.n_windows}"
        late = float("nan") if found.asked is None or found.risen is None else max(0, found.asked - found.risen)
        figures.append(Figure(f"detection_delay_{each.name}", late, "weeks", f"asked in week {found.asked}; {told}"))
    return figures


def notice_drift(each: DataSet, frame: pd.DataFrame, spec: MonitorSpec) -> Noticed:
    """Judge the last three fifths of a stream, by a model of the first and a reference of the second."""
    frame = frame.sort_values("event_time", kind="stable", ignore_index=True)
    ground = make_ground(each, frame, is_shuffled=False, shares=_SHARES)
    moments = pd.to_datetime(frame["event_time"]).iloc[-len(ground.pool) :].reset_index(drop=True)
    expected = float(ground.reference_losses.mean())
    memory = AlarmMemory()
    first: dict[str, int] = {}
    number, was_high = 0, False
    for number, (start, rows) in enumerate(_cut_weeks(moments), start=1):
        judged, losses = _judge(ground, rows, start, spec, memory)
        memory = judged.memory
        is_high = bool(losses.mean() / expected - 1 > spec.max_loss_increase)
        if is_high and was_high:
            first.setdefault("risen", number - 1)
        was_high = is_high
        shows = {
            "alarm": bool(judged.judgement.alarms),
            "asked": judged.triage.asks_for_training,
        }
        first |= {name: number for name, is_so in shows.items() if is_so and name not in first}
    return Noticed(each.name, number, first.get("risen"), first.get("alarm"), first.get("asked"))


def measure_triage() -> list[Figure]:
    """Let triage judge planted changes, and print what it said of each."""
    found = confuse(load_grounds(), n_trials=_N_TRIALS)
    print_confusion(found)
    right = share_right(found)
    changes = len({change for _, change, _, _ in found})
    against = f"{sum(found.values())} windows of 500 rows, {changes} kinds of change, seen once; target {_TARGET}"
    return [Figure("triage_accuracy", right, "share", against)]


def print_confusion(found: Counter[tuple[str, ChangeName, str, str]]) -> None:
    """Print what each window was beside what triage said of it, and each change that was misread."""
    print(f"{'is / said':<15}" + "".join(f"{verdict:>15}" for verdict in VERDICTS))
    for truth in VERDICTS:
        row = [sum(n for key, n in found.items() if key[2:] == (truth, each)) for each in VERDICTS]
        print(f"{truth:<15}" + "".join(f"{n:>15}" for n in row))
    for (name, change, truth, verdict), n in sorted(found.items()):
        if truth != verdict:
            print(f"  {name}, {change}: {n} times {verdict}, is {truth}")


def _judge(
    ground: Ground, rows: npt.NDArray[np.intp], start: datetime, spec: MonitorSpec, memory: AlarmMemory
) -> tuple[JudgedWindow, npt.NDArray[np.float64]]:
    window = ground.pool.iloc[rows].reset_index(drop=True)
    answers = ground.answer(window)
    losses = row_losses(ground.task, ground.target[rows], answers)
    predictions = pd.Series(answers if ground.task == "regression" else answers[:, -1])
    judged = judge_window(
        WindowFacts(start, start + _LENGTH, len(rows), version=1),
        measure_drift(ground.profile, window, predictions=predictions).report,
        spec,
        memory,
        losses=LossSample(losses, float(ground.reference_losses.mean()), ground.reference_losses),
        importances=ground.importances,
        rehearsed=ground.rehearsed,
    )
    return judged, losses


def _cut_weeks(moments: pd.Series[pd.Timestamp]) -> Iterator[tuple[datetime, npt.NDArray[np.intp]]]:
    """Cut rows in the order of time into weeks, of which the thin ones say nothing and are left out."""
    origin = moments.iloc[0].floor("D")
    weeks = ((moments - origin) // pd.Timedelta(_LENGTH)).to_numpy()
    for week in np.unique(weeks):
        rows = np.flatnonzero(weeks == week)
        if len(rows) >= _FEWEST_ROWS:
            yield (origin + int(week) * pd.Timedelta(_LENGTH)).to_pydatetime().replace(tzinfo=UTC), rows
