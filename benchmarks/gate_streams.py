"""Streams for the gate's trials: the losses, row by row, of one recipe fitted with many seeds on real data."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import Task, row_losses

Floats = npt.NDArray[np.float64]

N_SEEDS = 12
_LEARNT_SHARE = 0.4
_MOST_LEARNT = 16_000
_MOST_ROWS = 60_000


@dataclass(frozen=True)
class DataSet:
    """A shared data set: its task, its target, and what would give that away."""

    name: str
    task: Task
    target: str
    left_out: tuple[str, ...] = ()


DATA_SETS = (
    DataSet("bike_sharing_hour", "regression", "cnt", ("casual", "registered", "instant", "dteday")),
    DataSet("hotel_bookings", "classification", "is_canceled", ("reservation_status", "assigned_room_type")),
    DataSet("chicago_taxi", "classification", "tips > 0.2 * fare", ("tips",)),
    # Nothing drifts here: the control.
    DataSet("acs_ma_employment", "classification", "employed"),
)
_ALWAYS_LEFT_OUT = ("row_seq", "event_time", "reservation_status_date")


@dataclass(frozen=True)
class Stream:
    """One recipe's fits on one data set.

    Attributes
    ----------
    losses : array of shape (n_seeds, n_rows)
        Of rows that none of the fits has learnt from, in time order.
    """

    name: str
    task: Task
    losses: Floats


def find_data() -> Path | None:
    """Return the folder of the shared data sets: EVERFIT_SHARED_DATA, or shared/data beside the repository."""
    named = os.environ.get("EVERFIT_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def load_streams() -> list[Stream]:
    """Fit each recipe with all seeds on each data set that is there; on generated rows where none is."""
    folder = find_data()
    there = [] if folder is None else [each for each in DATA_SETS if (folder / f"{each.name}.parquet").is_file()]
    if folder is None or not there:
        say("the shared data sets are not there (EVERFIT_SHARED_DATA); the trials are on generated rows")
        return [_fit("generated", "regression", *_generate(), forest) for forest in (False, True)]
    streams = []
    for each in there:
        features, target = _read(folder / f"{each.name}.parquet", each)
        for forest in (False, True):
            streams.append(_fit(each.name, each.task, features, target, forest))
    return streams


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"gate: {text}", file=sys.stderr, flush=True)


def _read(file: Path, each: DataSet) -> tuple[pd.DataFrame, Floats]:
    frame = pd.read_parquet(file).iloc[:_MOST_ROWS]
    target = np.asarray(frame.eval(each.target), dtype=np.float64)
    dropped = [name for name in (*_ALWAYS_LEFT_OUT, *each.left_out, each.target) if name in frame.columns]
    features = frame.drop(columns=dropped)
    for name in features.columns:
        if not pd.api.types.is_numeric_dtype(features[name]):
            features[name] = pd.factorize(features[name])[0]
    return features.astype(np.float32).dropna(axis="columns", how="all"), target


def _generate() -> tuple[pd.DataFrame, Floats]:
    draw = np.random.default_rng(0)
    features = pd.DataFrame(draw.normal(size=(15_000, 8)).astype(np.float32), columns=list("abcdefgh"))
    weather = np.repeat(draw.normal(size=150), 100)
    target = features["a"] * features["b"] + np.abs(features["c"]) + weather + draw.normal(size=len(features))
    return features, target.to_numpy(dtype=np.float64)


def _fit(name: str, task: Task, features: pd.DataFrame, target: Floats, forest: bool) -> Stream:
    stop = int(len(features) * _LEARNT_SHARE)
    learnt = slice(max(0, stop - _MOST_LEARNT), stop)
    kind = "forest" if forest else "boosting"
    say(f"{name}: {N_SEEDS} fits of a {kind} on {learnt.stop - learnt.start:,} rows")
    judged = features.iloc[stop:]
    losses = []
    for seed in range(N_SEEDS):
        model = _estimator(task, forest, seed).fit(features.iloc[learnt], target[learnt])
        answers = model.predict(judged) if task == "regression" else model.predict_proba(judged)
        losses.append(row_losses(task, target[stop:], np.asarray(answers, dtype=np.float64)))
    return Stream(f"{name} {kind}", task, np.array(losses))


def _estimator(task: Task, forest: bool, seed: int) -> Any:
    """Make an estimator whose seed matters: rows, columns or the stop of its iterations are drawn."""
    from sklearn import ensemble

    suffix = "Regressor" if task == "regression" else "Classifier"
    if forest:
        kind = getattr(ensemble, f"RandomForest{suffix}")
        return kind(n_estimators=20, max_features=0.5, min_samples_leaf=5, max_samples=0.4, random_state=seed)
    kind = getattr(ensemble, f"HistGradientBoosting{suffix}")
    return kind(max_iter=80, max_features=0.5, early_stopping=True, random_state=seed)
