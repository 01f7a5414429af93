"""Quiet streams: windows of real rows without any drift, and how many alarms are raised in them all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import row_losses
from base.monitor_spec import MonitorSpec
from benchmarks.gate_streams import DataSet
from benchmarks.planted_changes import FIRST_WINDOW, Ground, make_ground
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.drift import measure_drift
from monitoring.judgement import AlarmMemory, judge_window

Order = Literal["rows shuffled", "blocks shuffled"]
ORDERS: tuple[Order, ...] = ("rows shuffled", "blocks shuffled")

_SEED = 0
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class QuietResult:
    """What was raised in a quiet stream; *budget* is how many false alarms were allowed in as many windows."""

    name: str
    order: Order
    n_windows: int
    n_alarms: int
    budget: float
    kinds: dict[str, int]
    n_evidently: int = 0
    n_evidently_any: int = 0
    n_evidently_windows: int = 0


def make_quiet_ground(each: DataSet, frame: pd.DataFrame, order: Order, *, n_rows: int, most_rows: int) -> Ground:
    """Make a ground whose pool stands in an order: each row for itself, or neighbours together.

    With blocks, learnt rows, reference and pool are blocks of all seasons, so that nothing drifts from block to block,
    while each block is of one day, one season, one customer.
    """
    if order == "rows shuffled":
        return make_ground(each, frame, most_rows=most_rows)
    blocks = np.random.default_rng(_SEED).permutation(len(frame) // n_rows)[: most_rows // n_rows]
    rows = (blocks[:, None] * n_rows + np.arange(n_rows)[None, :]).ravel()
    return make_ground(each, frame.iloc[rows].reset_index(drop=True), most_rows=len(rows), is_shuffled=False)


def watch_quietly(
    ground: Ground,
    order: Order,
    *,
    n_windows: int,
    n_rows: int,
    spec: MonitorSpec,
    n_evidently: int = 0,
    with_labels: bool = True,
) -> QuietResult:
    """Judge windows of a quiet stream one after the other; each is a day long."""
    memory, kinds = AlarmMemory(), Counter[str]()
    n_half = n_any = n_asked = 0
    for number, rows in enumerate(_draw_windows(ground, order, n_windows, n_rows)):
        window = ground.pool.iloc[rows].reset_index(drop=True)
        answers = ground.answer(window)
        report = measure_drift(
            ground.profile,
            window,
            predictions=pd.Series(answers if ground.task == "regression" else answers[:, -1]),
            with_multivariate=False,
        ).report
        losses = None
        if with_labels:
            found = row_losses(ground.task, ground.target[rows], answers)
            losses = LossSample(found, float(ground.reference_losses.mean()), ground.reference_losses)
        start = FIRST_WINDOW + number * _DAY
        judged = judge_window(
            WindowFacts(start, start + _DAY, n_rows, version=1),
            report,
            spec,
            memory,
            losses=losses,
            importances=ground.importances,
            rehearsed=ground.rehearsed,
        )
        memory = judged.memory
        kinds.update(alarm.kind for alarm in judged.judgement.alarms if alarm.is_new)
        if number < n_evidently:
            share = _ask_evidently(ground, window)
            n_asked, n_half, n_any = n_asked + 1, n_half + (share >= 0.5), n_any + (share > 0)
    budget = spec.false_alarms.per_quarter * n_windows * _DAY / timedelta(days=365.25 / 4)
    return QuietResult(ground.name, order, n_windows, sum(kinds.values()), budget, dict(kinds), n_half, n_any, n_asked)


def _draw_windows(ground: Ground, order: Order, n_windows: int, n_rows: int) -> Iterator[npt.NDArray[np.intp]]:
    draw = np.random.default_rng(_SEED)
    for _ in range(n_windows):
        if order == "rows shuffled":
            yield draw.choice(len(ground.pool), n_rows, replace=False)
        else:
            yield draw.integers(len(ground.pool) // n_rows) * n_rows + np.arange(n_rows)


def _ask_evidently(ground: Ground, window: pd.DataFrame) -> float:
    """Return the share of columns that Evidently's default preset calls drifted."""
    import json
    import warnings

    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(ground.numeric), categorical_columns=list(ground.categorical))
    columns = [*ground.numeric, *ground.categorical]
    sides = [
        Dataset.from_pandas(rows[columns].assign(**{n: rows[n].astype(str) for n in ground.categorical}), definition)
        for rows in (window, ground.reference)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = json.loads(Report([DataDriftPreset()]).run(sides[0], sides[1]).json())
    return float(found["metrics"][0]["value"]["share"])
