"""Planted changes: windows of real rows with a known change in them, and what triage says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import Task, row_losses
from base.monitor_spec import MonitorSpec
from benchmarks.gate_streams import DATA_SETS, DataSet, find_data
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.alarms.quiet_history import QuietHistory
from monitoring.alarms.rehearsal import rehearse
from monitoring.drift import ReferenceProfile, make_profile, measure_drift
from monitoring.judgement import AlarmMemory, JudgedWindow, judge_window
from monitoring.triage.verdict import TriageVerdict

Floats = npt.NDArray[np.float64]
ChangeName = Literal[
    "none", "unit flip", "null burst", "mean shift", "unimportant shift", "new category", "concept flip"
]

CHANGES: tuple[ChangeName, ...] = (
    "none",
    "unit flip",
    "null burst",
    "mean shift",
    "unimportant shift",
    "new category",
    "concept flip",
)
FIRST_WINDOW = datetime(2026, 1, 1, tzinfo=UTC)
_NEW_SHARE = 0.4
_NULL_SHARE = 0.3
_MILE = 0.621
# A rise of the loss so near to the limit, in standard errors of a window's loss, is told right by nobody.
_UNCLEAR = 1.5
_SEED = 0
_LEFT_OUT = ("row_seq", "event_time", "reservation_status_date")


@dataclass(frozen=True)
class Planted:
    """A window with a change in it."""

    rows: pd.DataFrame
    losses: Floats
    predictions: Floats


@dataclass
class Ground:
    """A data set with a model: windows are drawn from rows that the model has not seen.

    Attributes
    ----------
    reference_losses : array of shape (n_reference,)
        Of the model on the reference's rows.
    importances : dict
        By feature, by how much the loss rises when it is shuffled.
    """

    name: str
    task: Task
    reference: pd.DataFrame
    profile: ReferenceProfile
    pool: pd.DataFrame
    target: Floats
    reference_losses: Floats
    importances: dict[str, float]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    answer: Callable[[pd.DataFrame], Floats]

    @cached_property
    def rehearsed(self) -> QuietHistory:
        """What the reference itself says of how windows differ."""
        return rehearse(self.profile)

    def plant(self, change: ChangeName, rows: npt.NDArray[np.intp], draw: np.random.Generator) -> Planted:
        """Take rows of the pool, and change them."""
        window, target = self.pool.iloc[rows].reset_index(drop=True), self.target[rows].copy()
        if change == "concept flip":
            target = self._flip(window, target)
        else:
            self._change(window, change, draw)
        answers = self.answer(window)
        losses = row_losses(self.task, target, answers)
        return Planted(window, losses, answers if self.task == "regression" else answers[:, -1])

    def true_increase(self, change: ChangeName) -> float:
        """By how much a change raises the loss over many rows, relative to the same rows without it."""
        draw = np.random.default_rng(_SEED)
        rows = draw.choice(len(self.pool), min(len(self.pool), 4_000), replace=False)
        changed, plain = self.plant(change, rows, draw), self.plant("none", rows, draw)
        return float(changed.losses.mean() / plain.losses.mean()) - 1

    def truth(self, change: ChangeName, spec: MonitorSpec, *, n_rows: int) -> TriageVerdict | None:
        """What triage should say of a change; None where the rise of the loss is too near the limit to tell."""
        if change == "none":
            return "quiet"
        if change in ("unit flip", "null burst"):
            return "broken data"
        increase = self.true_increase(change)
        losses = self.reference_losses
        error = float(losses.std() / losses.mean()) / n_rows**0.5
        if abs(increase - spec.max_loss_increase) < _UNCLEAR * error:
            return None
        return "changed world" if increase > spec.max_loss_increase else "harmless"

    def _change(self, window: pd.DataFrame, change: ChangeName, draw: np.random.Generator) -> None:
        numeric = self._ranked(self.numeric)
        if change == "unit flip":
            window[numeric[0]] = window[numeric[0]] * _MILE
        elif change == "null burst":
            burst = slice(0, int(_NULL_SHARE * len(window)))
            window[numeric[0]] = window[numeric[0]].astype(np.float64)
            window.loc[window.index[burst], numeric[0]] = np.nan
        elif change in ("mean shift", "unimportant shift"):
            column = numeric[0] if change == "mean shift" else numeric[-1]
            spread = float(self.pool[column].std())
            is_whole = bool((self.pool[column].dropna() % 1 == 0).all())
            window[column] = window[column] + (max(1.0, round(spread)) if is_whole else spread)
        elif change == "new category" and self.categorical:
            column = self._ranked(self.categorical)[0]
            new = draw.random(len(window)) < _NEW_SHARE
            window[column] = window[column].astype(object).mask(new, "planted")

    def _flip(self, window: pd.DataFrame, target: Floats) -> Floats:
        column = window[self._ranked(self.numeric)[0]]
        chosen = (column > column.median()).to_numpy()
        if self.task == "classification":
            return np.where(chosen, 1 - target, target)
        return np.where(chosen, target * 1.8, target)

    def _ranked(self, columns: Sequence[str]) -> list[str]:
        """Columns by importance, those of which a shift or another unit would change nothing left out."""
        rich = [name for name in columns if self.pool[name].nunique() > 10] or list(columns)
        return sorted(rich, key=lambda name: -self.importances.get(name, 0.0))


def load_grounds(names: Sequence[str] = ()) -> list[Ground]:
    """Make a ground of each shared data set that is there."""
    folder = find_data()
    there = [] if folder is None else [each for each in DATA_SETS if (folder / f"{each.name}.parquet").is_file()]
    return [
        make_ground(each, pd.read_parquet(cast(Any, folder) / f"{each.name}.parquet"))
        for each in there
        if not names or each.name in names
    ]


def make_ground(
    each: DataSet,
    frame: pd.DataFrame,
    *,
    most_rows: int = 40_000,
    is_shuffled: bool = True,
    shares: tuple[float, float] = (0.4, 0.6),
) -> Ground:
    """Shuffle a data set, fit a model on two fifths of it, take a fifth as reference and the rest as pool.

    *shares* say otherwise: where what is learnt and where the reference ends.
    """
    if is_shuffled:
        frame = frame.sample(min(len(frame), most_rows), random_state=_SEED).reset_index(drop=True)
    target = np.asarray(frame.eval(each.target), dtype=np.float64)
    dropped = [name for name in (*_LEFT_OUT, *each.left_out, each.target) if name in frame.columns]
    rows = frame.drop(columns=dropped).dropna(axis="columns", thresh=len(frame) // 2)
    numeric = tuple(name for name in rows.columns if pd.api.types.is_numeric_dtype(rows[name]))
    categorical = tuple(name for name in rows.columns if name not in numeric)
    learnt, known = (int(share * len(rows)) for share in shares)
    answer = _fit(each.task, rows.iloc[:learnt], target[:learnt], categorical)
    reference, truth = rows.iloc[learnt:known].reset_index(drop=True), target[learnt:known]
    answers = answer(reference)
    losses = row_losses(each.task, truth, answers)
    shown = reference.assign(__prediction__=answers if each.task == "regression" else answers[:, -1])
    return Ground(
        name=each.name,
        task=each.task,
        reference=reference,
        profile=make_profile(shown, numeric=numeric, categorical=categorical),
        pool=rows.iloc[known:].reset_index(drop=True),
        target=target[known:],
        reference_losses=losses,
        importances=_measure_importances(each.task, reference, truth, answer),
        numeric=numeric,
        categorical=categorical,
        answer=answer,
    )


def judge_planted(
    ground: Ground, planted: Planted, memory: AlarmMemory, spec: MonitorSpec, *, number: int
) -> JudgedWindow:
    """Measure and judge a window as the monitor does; windows are a day long."""
    start = FIRST_WINDOW + number * timedelta(days=1)
    facts = WindowFacts(start, start + timedelta(days=1), len(planted.rows), version=1)
    predictions = pd.Series(planted.predictions)
    report = measure_drift(ground.profile, planted.rows, predictions=predictions, with_multivariate=False).report
    losses = LossSample(planted.losses, float(ground.reference_losses.mean()), ground.reference_losses)
    return judge_window(
        facts, report, spec, memory, losses=losses, importances=ground.importances, rehearsed=ground.rehearsed
    )


def confuse(
    grounds: Sequence[Ground],
    *,
    n_trials: int = 5,
    n_rows: int = 500,
    n_quiet: int = 12,
    spec: MonitorSpec | None = None,
) -> Counter[tuple[str, ChangeName, str, str]]:
    """Let triage judge planted windows after some quiet ones.

    Returns
    -------
    Counter
        Of (data set, change, what it is, what triage said).
    """
    spec = spec or MonitorSpec(window="1 day")
    found: Counter[tuple[str, ChangeName, str, str]] = Counter()
    for ground in grounds:
        draw = np.random.default_rng(_SEED)
        memory = AlarmMemory()
        for number in range(n_quiet):
            rows = draw.choice(len(ground.pool), n_rows, replace=False)
            memory = judge_planted(ground, ground.plant("none", rows, draw), memory, spec, number=number).memory
        for change in CHANGES:
            truth = ground.truth(change, spec, n_rows=n_rows)
            if truth is None or (change == "new category" and not ground.categorical):
                continue
            for _ in range(n_trials):
                rows = draw.choice(len(ground.pool), n_rows, replace=False)
                judged = judge_planted(ground, ground.plant(change, rows, draw), memory, spec, number=n_quiet)
                found[ground.name, change, truth, judged.triage.verdict] += 1
    return found


def share_right(found: Counter[tuple[str, ChangeName, str, str]]) -> float:
    """Return the share of windows of which triage said what they are."""
    right = sum(n for (_, _, truth, verdict), n in found.items() if truth == verdict)
    return right / max(1, sum(found.values()))


def _fit(
    task: Task, rows: pd.DataFrame, target: Floats, categorical: Sequence[str]
) -> Callable[[pd.DataFrame], Floats]:
    from sklearn import ensemble

    levels = {name: pd.Index(rows[name].dropna().unique()) for name in categorical}

    def encode(frame: pd.DataFrame) -> pd.DataFrame:
        codes = {name: levels[name].get_indexer(pd.Index(frame[name])).astype(np.float64) for name in categorical}
        return frame.assign(**{name: np.where(code < 0, np.nan, code) for name, code in codes.items()}).astype(float)

    kind = "Regressor" if task == "regression" else "Classifier"
    model = getattr(ensemble, f"HistGradientBoosting{kind}")(max_iter=80, random_state=_SEED)
    model.fit(encode(rows), target)
    asked = model.predict if task == "regression" else model.predict_proba
    return lambda frame: np.asarray(asked(encode(frame)), dtype=np.float64)


def _measure_importances(
    task: Task, rows: pd.DataFrame, target: Floats, answer: Callable[[pd.DataFrame], Floats]
) -> dict[str, float]:
    draw = np.random.default_rng(_SEED)
    rows, target = rows.iloc[:2_000], target[:2_000]
    before = float(row_losses(task, target, answer(rows)).mean())
    found = {}
    for name in rows.columns:
        shuffled = rows.assign(**{name: draw.permutation(rows[name].to_numpy())})
        found[name] = float(row_losses(task, target, answer(shuffled)).mean()) - before
    return found
