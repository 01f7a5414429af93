"""One unit for losses of every task: 1 is a full loss, as bad as an answer without a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from base.metrics import Task, point_answers

Floats = npt.NDArray[np.float64]


def unit_losses(
    task: Task, target: npt.NDArray[Any], answers: Floats, *, full: float, threshold: float = 0.5
) -> Floats:
    """Return the loss of each row in units of full loss, as the price of a training is counted.

    Classes: 1 where the answer is wrong. Values: the absolute error over *full*.

    Parameters
    ----------
    full : float
        For values, :func:`full_loss` of the champion's reference; not looked at for classes.

    Examples
    --------
    >>> unit_losses("regression", np.array([3.0, 5.0]), np.array([4.0, 5.0]), full=2.0).tolist()
    [0.5, 0.0]
    >>> unit_losses("classification", np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), full=1.0).tolist()
    [0.0, 1.0]
    """
    if task == "regression":
        errors: Floats = np.abs(target.astype(np.float64) - answers) / full
        return errors
    wrong: Floats = (point_answers(task, answers, threshold=threshold) != target).astype(np.float64)
    return wrong


def full_loss(task: Task, target: npt.NDArray[Any]) -> float:
    """Return what an answer without a model is off by: for values, the mean distance from the median.

    Examples
    --------
    >>> full_loss("regression", np.array([1.0, 2.0, 6.0])), full_loss("classification", np.array([0, 1]))
    (1.6666666666666667, 1.0)
    """
    if task == "classification":
        return 1.0
    values = target.astype(np.float64)
    distance = float(np.abs(values - np.median(values)).mean())
    # A constant target leaves nothing to be worth a training; 1 keeps the division harmless.
    return distance or 1.0
