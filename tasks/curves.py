"""Curves of the judged rows, as a document: ROC, precision and recall, calibration, residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.calibration import calibration_bins
from base.metrics import Task
from tasks.scored_rows import ScoredBy, ScoredRows

Floats = npt.NDArray[np.float64]

_MOST_POINTS = 120
_N_STRETCHES = 30
_SHOWN_DOTS = 400


def draw_curves(rows: ScoredRows, task: Task, moments: pd.Series[Any]) -> dict[str, Any]:
    """Put together the curves of challenger and champion.

    Returns
    -------
    dict
        Of two classes: ``roc`` (false positive rate, true positive rate) and ``precision_recall`` (recall, precision),
        lists of points by model; with all classes ``calibration``, lists of bins (mean score, share that happened,
        rows) by model. Of values: ``residuals_over_prediction`` (mean prediction of a twentieth of the rows, and the
        10th, 50th and 90th percentile of prediction - target), ``residuals_over_time`` (when a stretch begins, the
        same percentiles) and ``residual_dots``.
    """
    who = {name: scored for name, scored in rows.models.items() if name != "baseline"}
    if task == "regression":
        return _residuals(rows.challenger, moments)
    found: dict[str, Any] = {"calibration": {name: _calibration(scored) for name, scored in who.items()}}
    two = {
        name: scored
        for name, scored in who.items()
        if scored.answers.shape[1] == 2 and 0 < (scored.target == 1).sum() < rows.n_rows
    }
    if two:
        found["roc"], found["precision_recall"] = {}, {}
        for name, scored in two.items():
            found["roc"][name], found["precision_recall"][name] = _rank_curves(scored)
    return found


def _rank_curves(scored: ScoredBy) -> tuple[list[list[float]], list[list[float]]]:
    from sklearn.metrics import precision_recall_curve, roc_curve

    positive, score = scored.target == 1, scored.answers[:, 1]
    false_rate, true_rate, _ = roc_curve(positive, score)
    precision, recall, _ = precision_recall_curve(positive, score)
    return _thin(false_rate, true_rate), _thin(recall[::-1], precision[::-1])


def _thin(across: Floats, up: Floats) -> list[list[float]]:
    """Keep points that lie about evenly along the way; ROC's steep beginning would lose its shape by number."""
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    wanted = np.linspace(0, way[-1], _MOST_POINTS)
    kept = np.unique(np.concatenate([[0], np.searchsorted(way, wanted).clip(max=len(way) - 1), [len(way) - 1]]))
    return [[round(float(across[index]), 5), round(float(up[index]), 5)] for index in kept]


def _calibration(scored: ScoredBy) -> list[dict[str, float]]:
    if scored.answers.shape[1] == 2:
        score, happened = scored.answers[:, 1], scored.target == 1
    else:
        score, happened = scored.answers.max(axis=1), scored.answers.argmax(axis=1) == scored.target
    bins = calibration_bins(score)
    return [
        {
            "score": float(score[bins == index].mean()),
            "share": float(happened[bins == index].mean()),
            "n_rows": int((bins == index).sum()),
        }
        for index in np.unique(bins)
    ]


def _residuals(scored: ScoredBy, moments: pd.Series[Any]) -> dict[str, Any]:
    errors = scored.answers - scored.target.astype(np.float64)
    order = np.argsort(scored.answers, kind="stable")
    over_prediction = [
        [float(scored.answers[part].mean()), *_percentiles(errors[part])]
        for part in np.array_split(order, min(20, len(order)))
    ]
    stretches = np.array_split(np.arange(len(errors)), min(_N_STRETCHES, len(errors)))
    over_time = [[_when(moments.iloc[int(part[0])]), *_percentiles(errors[part])] for part in stretches]
    dots = np.unique(np.linspace(0, len(errors) - 1, _SHOWN_DOTS).astype(int))
    return {
        "residuals_over_prediction": over_prediction,
        "residuals_over_time": over_time,
        "residual_dots": [[float(scored.answers[index]), float(errors[index])] for index in dots],
    }


def _percentiles(errors: Floats) -> list[float]:
    return [float(value) for value in np.quantile(errors, [0.1, 0.5, 0.9])]


def _when(moment: object) -> str | int:
    return moment.isoformat() if isinstance(moment, pd.Timestamp) else int(moment)  # type: ignore[call-overload]
