"""Losses of rows and metrics of models: one definition for the gate, monitoring and the backtest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from base.calibration import calibration_error

Task = Literal["classification", "regression"]
Floats = npt.NDArray[np.float64]

# A model that was sure and wrong would have an infinite loss; 1e-6 caps one row's log loss at 13.8.
_SMALLEST_PROBABILITY = 1e-6

LOSS_NAMES: dict[Task, str] = {"classification": "log_loss", "regression": "mae"}
"""The metric that is the mean of the row losses, by task: what gate and monitoring compare."""

LOWER_IS_BETTER: dict[str, bool] = {
    **dict.fromkeys(("log_loss", "brier", "calibration_error", "mae", "rmse", "mape", "cost"), True),
    **dict.fromkeys(("accuracy", "roc_auc", "average_precision", "f1", "macro_f1", "macro_roc_auc", "r2"), False),
}
"""By metric, which way is better; ``positive_share`` and ``mean_error`` are in neither direction."""


def row_losses(task: Task, target: npt.NDArray[np.generic], prediction: Floats) -> Floats:
    """Return the loss of each row: log loss for classification, absolute error for regression.

    Parameters
    ----------
    target : array of shape (n_rows,)
        Class codes 0 … n_classes - 1 (-1: a class that the model was never shown), or the measured value.
    prediction : array of shape (n_rows, n_classes) or (n_rows,)
        Probabilities of the classes, or the predicted value.

    Returns
    -------
    array of shape (n_rows,)
        In nats, or in the target's unit.

    Examples
    --------
    >>> row_losses("regression", np.array([3.0, 5.0]), np.array([4.0, 5.0]))
    array([1., 0.])
    >>> row_losses("classification", np.array([1]), np.array([[0.5, 0.5]])).round(3)
    array([0.693])
    """
    if task == "regression":
        return np.abs(target.astype(np.float64) - prediction)
    codes = target.astype(np.intp)
    own = np.where(codes >= 0, prediction[np.arange(len(codes)), codes], 0.0)
    losses: Floats = -np.log(np.clip(own, _SMALLEST_PROBABILITY, 1.0))
    return losses


def pinball_losses(target: npt.NDArray[np.generic], prediction: Floats, quantile: float) -> Floats:
    """Return the loss of each row's prediction as a quantile of the target (Koenker & Bassett 1978).

    Examples
    --------
    >>> pinball_losses(np.array([10.0, 10.0]), np.array([8.0, 12.0]), 0.9).round(3)
    array([1.8, 0.2])
    """
    short = target.astype(np.float64) - prediction
    losses: Floats = np.maximum(quantile * short, (quantile - 1) * short)
    return losses


def point_answers(task: Task, prediction: Floats, *, threshold: float = 0.5) -> Floats:
    """Return what is answered for each row: the class code, with two classes by *threshold*, or the value.

    Examples
    --------
    >>> point_answers("classification", np.array([[0.6, 0.4], [0.2, 0.8]]), threshold=0.3).tolist()
    [1.0, 1.0]
    """
    if task == "regression":
        return prediction
    if prediction.shape[1] == 2:
        called: Floats = np.where(prediction[:, 1] >= threshold, 1.0, 0.0)
        return called
    codes: Floats = prediction.argmax(axis=1).astype(np.float64)
    return codes


def measure(
    task: Task,
    target: npt.NDArray[np.generic],
    prediction: Floats,
    *,
    threshold: float = 0.5,
    quantiles: Sequence[float] = (),
    costs: Floats | None = None,
) -> dict[str, float]:
    """Measure predictions against the truth.

    Parameters
    ----------
    quantiles : sequence of float
        Of a regression: the quantiles for which the pinball loss is measured.
    costs : array of shape (n_rows,), optional
        What each row's answer costs (:mod:`base.costs`).

    Returns
    -------
    dict
        Classification: ``log_loss`` (nats), ``accuracy``, ``brier`` and ``calibration_error``
        (:func:`base.calibration.calibration_error`). With two classes also ``f1`` at *threshold*, ``positive_share``
        and, where both classes occur, ``roc_auc`` and ``average_precision``; brier is (p - y)², between 0 and 1. With
        more, ``macro_f1`` and ``macro_roc_auc`` (one against the rest), means over the classes that occur; brier is
        the sum over classes, between 0 and 2. Regression: ``mae``, ``rmse``, ``mean_error`` (the target's unit),
        ``r2`` where the target varies, ``mape`` (a share) where no target is 0, ``pinball_<q>``. And ``cost``.

    Examples
    --------
    >>> measure("regression", np.array([1.0, 3.0]), np.array([2.0, 2.0]))["mae"]
    1.0
    """
    cost = {} if costs is None else {"cost": float(costs.mean())}
    if task == "regression":
        return _measure_values(target.astype(np.float64), prediction, quantiles) | cost
    loss = float(row_losses(task, target, prediction).mean())
    codes = target.astype(np.intp)
    if prediction.shape[1] != 2:
        return _measure_classes(codes, prediction, loss) | cost
    score = prediction[:, 1]
    called = score >= threshold
    positive = codes == 1
    found = {
        "log_loss": loss,
        "accuracy": float((called.astype(np.intp) == codes).mean()),
        "brier": float(np.mean((score - positive) ** 2)),
        "calibration_error": calibration_error(score, positive),
        "f1": 2 * float((called & positive).sum()) / max(1.0, float(called.sum() + positive.sum())),
        "positive_share": float(positive.mean()),
    }
    if 0 < positive.sum() < len(codes):
        from sklearn.metrics import average_precision_score, roc_auc_score

        found["roc_auc"] = float(roc_auc_score(positive, score))
        found["average_precision"] = float(average_precision_score(positive, score))
    return found | cost


def explain_unmeasured(task: Task, target: npt.NDArray[np.generic], metrics: dict[str, float]) -> dict[str, str]:
    """Say of the metrics of a task that :func:`measure` left out why they mean nothing on these rows.

    Examples
    --------
    >>> target = np.array([0.0, 2.0])
    >>> explain_unmeasured("regression", target, measure("regression", target, np.ones(2)))
    {'mape': 'the target is 0 in 1 of 2 rows'}
    """
    missing = {}
    if task == "regression":
        n_zero = int((target.astype(np.float64) == 0).sum())
        if "mape" not in metrics:
            missing["mape"] = f"the target is 0 in {n_zero:,} of {len(target):,} rows"
        if "r2" not in metrics:
            missing["r2"] = "the target is the same in all rows"
    elif "roc_auc" not in metrics and "macro_roc_auc" not in metrics:
        which = "roc_auc, average_precision" if "f1" in metrics else "macro_roc_auc"
        for name in which.split(", "):
            missing[name] = f"all {len(target):,} rows are of one class"
    return missing


def _measure_values(target: Floats, prediction: Floats, quantiles: Sequence[float]) -> dict[str, float]:
    errors = prediction - target
    found = {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mean_error": float(errors.mean()),
    }
    spread = float(np.var(target))
    if spread > 0:
        found["r2"] = 1 - float(np.mean(errors**2)) / spread
    if (target != 0).all():
        found["mape"] = float(np.abs(errors / target).mean())
    for quantile in quantiles:
        found[f"pinball_{quantile:g}"] = float(pinball_losses(target, prediction, quantile).mean())
    return found


def _measure_classes(codes: npt.NDArray[np.intp], prediction: Floats, loss: float) -> dict[str, float]:
    called = prediction.argmax(axis=1)
    truth = codes[:, None] == np.arange(prediction.shape[1])
    occurring = [code for code in range(prediction.shape[1]) if truth[:, code].any()]
    found = {
        "log_loss": loss,
        "accuracy": float((called == codes).mean()),
        "brier": float(((prediction - truth) ** 2).sum(axis=1).mean()),
        "calibration_error": calibration_error(prediction.max(axis=1), called == codes),
    }
    if occurring:
        hits = [2 * float(((called == code) & truth[:, code]).sum()) for code in occurring]
        sizes = [float((called == code).sum() + truth[:, code].sum()) for code in occurring]
        found["macro_f1"] = float(np.mean([hit / size for hit, size in zip(hits, sizes, strict=True)]))
    ranked = [code for code in occurring if not truth[:, code].all()]
    if ranked:
        from sklearn.metrics import roc_auc_score

        scores = [roc_auc_score(truth[:, code], prediction[:, code]) for code in ranked]
        found["macro_roc_auc"] = float(np.mean(scores))
    return found
