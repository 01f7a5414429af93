"""What a model looks at: permutation importance and partial dependence, on a sample of the judged rows."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.evaluate_spec import EvaluateSpec
from base.metrics import Task, row_losses
from tasks.fits import predict
from tasks.scored_rows import ScoredRows

_log = logging.getLogger(__name__)

_REPEATS = 3
_PREDICTIONS = 40_000
_FEWEST_ROWS, _MOST_ROWS = 200, 2_000
_ROWS_PER_CALL = 40_000
_GRID = 12
_MOST_VALUES = 8
_ROWS_OF_A_CURVE = 200
_MOST_CLASSES = 4
# A model that takes so long to answer tells the rest of its features nowhere: a page is not worth an hour.
_PATIENCE_SECONDS = 60.0


@dataclass
class Explanations:
    """By feature: how much it matters (mean rise of the loss, its standard deviation), and how answers follow it.

    A curve is a document: ``values`` (of the feature) and ``answers``, one list for each of the ``classes`` or one.
    """

    importance: dict[str, tuple[float, float]] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    n_rows: int = 0


def explain_model(
    rows: ScoredRows,
    task: Task,
    evaluate: EvaluateSpec,
    classes: tuple[Any, ...] | None,
    missing: dict[str, str],
    *,
    personal: frozenset[str] = frozenset(),
) -> Explanations:
    """Explain the challenger on rows spread evenly over the judged ones.

    Importance is by how much the mean row loss rises when a feature's values are dealt out anew among the rows, three
    times (Breiman 2001, *Random forests*; for any model: Fisher, Rudin & Dominici 2019): of two features that tell the
    same, both may seem to matter little. Partial dependence is the mean answer when all rows have one value of a
    feature (Friedman 2001, *Greedy function approximation*), from its 5th to its 95th percentile or over its frequent
    categories.

    Parameters
    ----------
    personal : set of str
        Features whose values are shown nowhere.
    """
    started = time.monotonic()
    found = Explanations()
    if not evaluate.importance or rows.features.shape[1] == 0:
        return found
    names = [str(name) for name in rows.features.columns]
    found.n_rows = _choose_rows(rows.n_rows, len(names), evaluate)
    chosen = np.linspace(0, rows.n_rows - 1, found.n_rows).astype(int)
    sample = rows.features.iloc[chosen].reset_index(drop=True)
    target = rows.challenger.target[chosen]
    level = row_losses(task, target, rows.challenger.answers[chosen]).mean()
    draw = np.random.default_rng(0)
    n_classes = None if classes is None else len(classes)
    per_call = max(1, _ROWS_PER_CALL // (found.n_rows * _REPEATS))
    for first in range(0, len(names), per_call):
        if time.monotonic() - started > _PATIENCE_SECONDS:
            missing |= dict.fromkeys((f"importance.{name}" for name in names[first:]), "the model answers too slowly")
            break
        some = names[first : first + per_call]
        answers = predict(rows.model, _shuffle(sample, some, draw), n_classes=n_classes)
        losses = row_losses(task, np.tile(target, len(some) * _REPEATS), answers)
        rises = losses.reshape(len(some), _REPEATS, -1).mean(axis=2) - level
        for name, rise in zip(some, rises, strict=True):
            found.importance[name] = (float(rise.mean()), float(rise.std(ddof=1)))
    found.importance = dict(sorted(found.importance.items(), key=lambda item: -item[1][0]))
    shown = [name for name in found.importance if name not in personal][: evaluate.partial_dependence]
    for name in shown:
        if time.monotonic() - started > _PATIENCE_SECONDS:
            missing[f"partial_dependence.{name}"] = "the model answers too slowly"
            continue
        curve = _draw_curve(rows, name, n_classes)
        if curve is not None:
            found.curves[name] = curve | _name_classes(classes)
    return found


def _choose_rows(n_rows: int, n_features: int, evaluate: EvaluateSpec) -> int:
    if evaluate.explained_rows is not None:
        return min(n_rows, evaluate.explained_rows)
    affordable = _PREDICTIONS // (n_features * _REPEATS)
    return min(n_rows, max(_FEWEST_ROWS, min(_MOST_ROWS, affordable)))


def _shuffle(sample: pd.DataFrame, names: list[str], draw: np.random.Generator) -> pd.DataFrame:
    """Repeat the sample for each of some features and each repeat, with that feature's values dealt out anew."""
    n_rows, n_copies = len(sample), len(names) * _REPEATS
    every = np.tile(np.arange(n_rows), n_copies)
    repeated = sample.take(every).reset_index(drop=True)
    for index, name in enumerate(names):
        places = every.copy()
        for repeat in range(_REPEATS):
            start = (index * _REPEATS + repeat) * n_rows
            places[start : start + n_rows] = draw.permutation(n_rows)
        repeated[name] = (
            sample[name].take(places).to_numpy()
            if _is_plain(sample[name])
            else (sample[name].take(places).reset_index(drop=True))
        )
    return repeated


def _is_plain(values: pd.Series[Any]) -> bool:
    return isinstance(values.dtype, np.dtype)


def _draw_curve(rows: ScoredRows, name: str, n_classes: int | None) -> dict[str, Any] | None:
    n_rows = min(rows.n_rows, _ROWS_OF_A_CURVE)
    sample = rows.features.iloc[np.linspace(0, rows.n_rows - 1, n_rows).astype(int)].reset_index(drop=True)
    values = rows.features[name]
    grid = _grid(values)
    if len(grid) < 2:
        return None
    repeated = sample.take(np.tile(np.arange(n_rows), len(grid))).reset_index(drop=True)
    repeated[name] = pd.Series(np.repeat(grid, n_rows)).astype(values.dtype)
    answers = predict(rows.model, repeated, n_classes=n_classes)
    means = answers.reshape(len(grid), n_rows, -1).mean(axis=1)
    shown = means[:, 1:] if n_classes == 2 else means[:, :_MOST_CLASSES]
    is_quantity = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return {
        "values": [float(value) for value in grid] if is_quantity else [str(value) for value in grid],
        "answers": shown.T.tolist(),
        "shares": None if is_quantity else [float((values == value).mean()) for value in grid],
    }


def _grid(values: pd.Series[Any]) -> npt.NDArray[Any]:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        known = values.dropna().to_numpy(dtype=np.float64)
        if not len(known):
            return known
        distinct = np.unique(known)
        if len(distinct) <= _GRID:
            return distinct
        return np.unique(np.quantile(known, np.linspace(0.05, 0.95, _GRID), method="nearest"))
    return np.asarray(values.value_counts().index[:_MOST_VALUES], dtype=object)


def _name_classes(classes: tuple[Any, ...] | None) -> dict[str, Any]:
    if classes is None:
        return {"classes": None}
    shown = classes[1:] if len(classes) == 2 else classes[:_MOST_CLASSES]
    return {"classes": [str(value) for value in shown]}
