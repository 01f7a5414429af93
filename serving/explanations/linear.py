"""Linear models explained exactly: coefficient times the distance from the reference's mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.explanations.trees import Floats, NotReadable, Unit

_LOG_LINKS = ("PoissonRegressor", "GammaRegressor")


def is_linear(estimator: Any) -> bool:
    """Tell whether an estimator's margin is a weighted sum of its columns."""
    kind = type(estimator)
    if not kind.__module__.startswith("sklearn.linear_model."):
        return False
    return hasattr(estimator, "coef_") and hasattr(estimator, "intercept_") and kind.__name__ != "TweedieRegressor"


class LinearShapley:
    """The Shapley values of a linear model whose columns are taken to be independent (Lundberg & Lee 2017, 2.4).

    Parameters
    ----------
    reference : array of shape (n_rows, n_columns)
        Rows as the estimator sees them, whose mean is what a contribution is measured from.
    membership : array of shape (n_columns, n_players)
        1 where a column belongs to a player.

    Raises
    ------
    NotReadable
        If the model has several targets.
    """

    def __init__(self, estimator: Any, reference: Floats, membership: Floats) -> None:
        coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
        is_classifier = hasattr(estimator, "predict_proba")
        if len(coefficients) > 1 and not is_classifier:
            raise NotReadable("it has several targets")
        self.unit: Unit = "value"
        if is_classifier:
            is_logistic = len(coefficients) == 1 and _is_logistic(estimator)
            self.unit = "log-odds" if is_logistic else "score"
        elif type(estimator).__name__ in _LOG_LINKS:
            self.unit = "log of the value"
        self.n_outputs = len(coefficients)
        self._mean = np.asarray(reference, dtype=np.float64).mean(axis=0)
        self._weights = coefficients
        self._membership = membership
        intercept = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).ravel(), (self.n_outputs,))
        self.base: Floats = intercept + coefficients @ self._mean

    def explain(self, columns: Floats) -> Floats:
        """Compute contributions.

        Parameters
        ----------
        columns : array of shape (n_rows, n_columns)

        Returns
        -------
        array of shape (n_rows, n_players, n_outputs)
            With :attr:`base` they add up to the margin of each row.
        """
        distance = np.asarray(columns, dtype=np.float64) - self._mean
        parts = [(distance * weights) @ self._membership for weights in self._weights]
        return np.stack(parts, axis=2)


def _is_logistic(estimator: Any) -> bool:
    return type(estimator).__name__.startswith("LogisticRegression") or getattr(estimator, "loss", None) == "log_loss"
