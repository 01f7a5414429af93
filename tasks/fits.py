"""One fit: a recipe and rows in, a fitted model out; and what a model's answers must be."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.candidates import Recipe
from base.errors import DefinitionError, RunFailed
from base.references import TrainingData
from base.train_spec import EstimatorSpec, TrainingWindow
from tasks.estimators import build_estimator
from tasks.kept_fits import take_fit
from tasks.prepared_rows import TARGET

_log = logging.getLogger(__name__)

Moments = npt.NDArray[np.int64]


class NotConverged(RunFailed):
    """A fit that ended before it had found what it looked for."""


def fit_recipe(
    recipe: Recipe,
    data: TrainingData,
    rows: pd.DataFrame,
    *,
    moments: Moments | None = None,
    threads: int = 1,
) -> Any:
    """Fit what a recipe says on those of *rows* that its window keeps: equal recipe and rows, equal model.

    Parameters
    ----------
    data : TrainingData
        Tells the kind of each feature, and the classes; its parts are not looked at.
    rows : DataFrame of shape (n_rows, n_features + 1)
        Prepared rows (:func:`tasks.prepared_rows.load_prepared`) that may be learnt from, with the target.
    moments : array of shape (n_rows,), optional
        When each row happened, in microseconds (:func:`tasks.windows.load_moments`); without it the rows are
        taken to be in the order of time.
    threads : int
        OpenMP threads.

    Returns
    -------
    sklearn.pipeline.Pipeline
        The encoding of columns and the estimator, fitted.

    Raises
    ------
    DefinitionError
        If the estimator cannot be imported, refuses a parameter, or is none for the task.
    NotConverged
        If it says so.
    """
    from threadpoolctl import threadpool_limits

    kept = rows.iloc[select_window(recipe.window, len(rows), moments)]
    spec = EstimatorSpec(estimator=recipe.estimator, parameters=recipe.parameters)
    with threadpool_limits(threads):
        return fit_rows(spec, data, kept, seed=recipe.seed)


def select_window(window: TrainingWindow, n_rows: int, moments: Moments | None = None) -> npt.NDArray[np.int64]:
    """Return the positions of the rows that a window keeps, in their order.

    Raises
    ------
    RunFailed
        If the window is a span of time and the rows have none.

    Examples
    --------
    >>> select_window(TrainingWindow(rows=2), 4).tolist()
    [2, 3]
    >>> day = 86_400_000_000
    >>> select_window(TrainingWindow.read("2 days"), 4, np.array([0, 3, 1, 2]) * day).tolist()
    [1, 3]
    """
    everything = np.arange(n_rows)
    if window.span is not None:
        if moments is None:
            raise RunFailed(
                f"train.window is {str(window)!r}, and the rows have no time; name its column in key 'time'"
            )
        if not n_rows:
            return everything
        microseconds = round(window.span.total_seconds() * 1_000_000)
        return np.flatnonzero(moments > moments.max() - microseconds)
    if window.rows is None or window.rows >= n_rows:
        return everything
    if moments is None:
        return everything[n_rows - window.rows :]
    return np.sort(np.argsort(moments, kind="stable")[n_rows - window.rows :])


def fit_rows(spec: EstimatorSpec, data: TrainingData, rows: pd.DataFrame, *, seed: int) -> Any:
    """Fit an estimator on prepared rows; those of a class too rare to learn are left out.

    Raises
    ------
    DefinitionError
        If the estimator refuses one of its parameters.
    NotConverged
        If it says so.
    """
    known = rows if data.classes is None else rows[rows[TARGET] >= 0]
    return take_fit(spec, data, known, seed=seed, fit=lambda: _fit_known(spec, data, known, seed))


def _fit_known(spec: EstimatorSpec, data: TrainingData, rows: pd.DataFrame, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    target = rows[TARGET].to_numpy()
    model = build_estimator(spec, data, target, seed=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(rows[list(data.features)], target)
        except ValueError as error:
            if type(error).__name__ != "InvalidParameterError":  # scikit-learn's, which it does not export
                raise
            raise DefinitionError(f"estimator {spec.estimator!r}: {error}", key="train.estimators") from error
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            told = str(warning.message).strip().splitlines()[0].rstrip(".: ")
            raise NotConverged(f"it did not converge: {told}")
    for message in sorted({str(warning.message).splitlines()[0] for warning in caught if str(warning.message)}):
        _log.warning("%s: %s", spec.estimator, message)
    return model


def predict(model: Any, features: pd.DataFrame, *, n_classes: int | None) -> npt.NDArray[np.float64]:
    """Predict features; classes that the model was not shown get probability 0.

    Returns
    -------
    array of shape (n_rows, n_classes) or (n_rows,)
    """
    if n_classes is None:
        return np.asarray(model.predict(features), dtype=np.float64)
    return in_all_classes(np.asarray(model.predict_proba(features), dtype=np.float64), model, n_classes)


def in_all_classes(known: npt.NDArray[np.float64], model: Any, n_classes: int) -> npt.NDArray[np.float64]:
    """Give probabilities of the classes that a model knows their columns among all classes."""
    if known.ndim != 2 or known.shape[1] >= n_classes:
        return known
    full = np.zeros((len(known), n_classes))
    full[:, np.asarray(model.classes_, dtype=np.intp)] = known
    return full


def check_answers(answers: npt.NDArray[np.float64], *, n_rows: int, n_classes: int | None) -> None:
    """Refuse answers that cannot be judged.

    Raises
    ------
    RunFailed
        If one is no number, or their shape is not one answer for each row.
    """
    expected = (n_rows,) if n_classes is None else (n_rows, n_classes)
    if answers.shape != expected:
        raise RunFailed(f"it predicts an array of shape {answers.shape}, expected {expected}")
    wrong = int((~np.isfinite(answers)).reshape(n_rows, -1).any(axis=1).sum())
    if wrong:
        raise RunFailed(f"it predicts what is no number for {wrong:,} of {n_rows:,} rows")


def describe_failure(failure: Exception) -> str:
    """Say in one line why a fit failed."""
    if isinstance(failure, RunFailed):
        return str(failure)
    return f"{type(failure).__name__}: {failure}".strip().splitlines()[0].rstrip(": ")
