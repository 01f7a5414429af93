"""Losses of rows and metrics of models: one definition for the gate, monitoring and the backtest."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Task = Literal["classification", "regression"]
Floats = npt.NDArray[np.float64]

# A model that was sure and wrong would have an infinite loss; 1e-6 caps one row's log loss at 13.8.
_SMALLEST_PROBABILITY = 1e-6

LOSS_NAMES: dict[Task, str] = {"classification": "log_loss", "regression": "mae"}
"""The metric that is the mean of the row losses, by task: what gate and monitoring compare."""


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


def measure(
    task: Task, target: npt.NDArray[np.generic], prediction: Floats, *, threshold: float = 0.5
) -> dict[str, float]:
    """Measure predictions against the truth.

    Returns
    -------
    dict
        Classification: ``log_loss`` (nats), ``accuracy``, with two classes also ``roc_auc`` and
        ``average_precision`` (where both classes occur), ``brier`` and ``f1`` at *threshold*, and
        ``positive_share``. Regression: ``mae``, ``rmse`` (the target's unit), ``r2``, ``mean_error``.

    Examples
    --------
    >>> measure("regression", np.array([1.0, 3.0]), np.array([2.0, 2.0]))["mae"]
    1.0
    """
    loss = float(row_losses(task, target, prediction).mean())
    if task == "regression":
        errors = prediction - target.astype(np.float64)
        spread = float(np.var(target.astype(np.float64)))
        found = {"mae": loss, "rmse": float(np.sqrt(np.mean(errors**2))), "mean_error": float(errors.mean())}
        return found if spread == 0 else found | {"r2": 1 - float(np.mean(errors**2)) / spread}
    codes = target.astype(np.intp)
    if prediction.shape[1] != 2:
        return {"log_loss": loss, "accuracy": float((prediction.argmax(axis=1) == codes).mean())}
    score = prediction[:, 1]
    called = score >= threshold
    positive = codes == 1
    hits = float((called & positive).sum())
    found = {
        "log_loss": loss,
        "accuracy": float((called.astype(np.intp) == codes).mean()),
        "brier": float(np.mean((score - positive) ** 2)),
        "f1": 2 * hits / max(1.0, float(called.sum() + positive.sum())),
        "positive_share": float(positive.mean()),
    }
    if 0 < positive.sum() < len(codes):
        from sklearn.metrics import average_precision_score, roc_auc_score

        found["roc_auc"] = float(roc_auc_score(positive, score))
        found["average_precision"] = float(average_precision_score(positive, score))
    return found
