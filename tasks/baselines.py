"""Answers that need no model: the most frequent class, the mean, the last value that was known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from base.metrics import Task

_Numbers = npt.NDArray[np.float64]


def measure_baselines(
    task: Task,
    learnt: npt.NDArray[np.generic],
    target: npt.NDArray[np.generic],
    *,
    moments: npt.NDArray[np.int64] | None = None,
    delay: int = 0,
) -> dict[str, dict[str, float]]:
    """Measure what one would reach without a model, in the metrics that each answer is judged by.

    Parameters
    ----------
    learnt : array of shape (n_learnt,)
        Class codes or values of the rows that the challenger learnt from, in time order.
    target : array of shape (n_rows,)
        Those of the judged rows.
    moments : array of shape (n_rows,), optional
        When the judged rows happened; without it there is no last value.
    delay : int
        How long after its moment a row's target is known, in the unit of *moments*.

    Examples
    --------
    >>> found = measure_baselines("classification", np.array([0, 1, 1]), np.array([1, 1, 0]), moments=np.arange(3))
    >>> {name: round(metrics["accuracy"], 2) for name, metrics in found.items()}
    {'majority': 0.67, 'last value': 0.67}
    >>> measure_baselines("regression", np.array([1.0, 3.0]), np.array([2.0, 5.0]))["mean"]["mae"]
    1.5
    """
    if task == "classification":
        codes = learnt.astype(np.intp)
        majority = np.bincount(codes[codes >= 0]).argmax()
        found = {"majority": {"accuracy": float((target == majority).mean())}}
        if moments is not None:
            found["last value"] = {"accuracy": float((last_known(learnt, target, moments, delay) == target).mean())}
        return found
    values = target.astype(np.float64)
    answers = {"mean": np.full(len(values), learnt.astype(np.float64).mean())}
    if moments is not None:
        answers["last value"] = last_known(learnt, target, moments, delay)
    return {name: _measure_errors(given - values) for name, given in answers.items()}


def last_known(
    learnt: npt.NDArray[np.generic], target: npt.NDArray[np.generic], moments: npt.NDArray[np.int64], delay: int
) -> _Numbers:
    """Return, for each row, the target of the newest earlier row that was known when the row happened.

    Examples
    --------
    >>> last_known(np.array([7.0]), np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 1, 3]), 1).tolist()
    [7.0, 1.0, 1.0, 3.0]
    """
    known = np.searchsorted(moments, moments - delay, side="right" if delay else "left")
    values = np.concatenate([learnt[-1:].astype(np.float64), target.astype(np.float64)])
    found: _Numbers = values[known]
    return found


def _measure_errors(errors: _Numbers) -> dict[str, float]:
    return {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt(np.mean(errors**2)))}
