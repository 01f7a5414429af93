"""A model of a regressor's errors: what rows like these were off by on the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

# Small on purpose: some thousand rows, whose errors are mostly noise.
_N_TREES, _N_LEAVES, _FEWEST_PER_LEAF, _RATE = 40, 8, 40, 0.12


@dataclass(frozen=True)
class ErrorModel:
    """The expected absolute and squared error of rows, by features and prediction (direct loss estimation).

    NannyML's DLE. It holds while rows that look alike are as hard as they were on the reference.
    """

    columns: RowCodes
    absolute: Any
    squared: Any

    def expect(self, features: pd.DataFrame, answers: Floats) -> dict[str, Floats]:
        """Return what each row is expected to be off by: ``mae`` and ``mse``, never below 0."""
        rows = self.columns.write(features, answers)
        return {
            "mae": np.clip(self.absolute.predict(rows), 0.0, None),
            "mse": np.clip(self.squared.predict(rows), 0.0, None),
        }


@dataclass(frozen=True)
class RowCodes:
    """How rows become numbers: quantities as they are, categories by their place in the reference, the answer last."""

    numeric: tuple[str, ...]
    levels: dict[str, dict[Any, int]]

    def write(self, features: pd.DataFrame, answers: Floats) -> Floats:
        """Return an array of shape (n_rows, n_features + 1); a category that the reference lacks is missing."""
        columns = [features[name].to_numpy(dtype=np.float64) for name in self.numeric]
        columns += [features[name].map(codes).astype("float64").to_numpy() for name, codes in self.levels.items()]
        return np.column_stack([*columns, answers])


def learn_codes(features: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str]) -> RowCodes:
    """Number the categories of the reference, the most frequent first."""
    levels = {
        name: {level: code for code, level in enumerate(features[name].value_counts().index)} for name in categorical
    }
    return RowCodes(tuple(numeric), levels)


def fit_errors(codes: RowCodes, features: pd.DataFrame, answers: Floats, target: Floats) -> ErrorModel:
    """Fit both error models on labelled rows; the same rows give the same model."""
    rows, errors = codes.write(features, answers), np.abs(target - answers)
    return ErrorModel(codes, _fit(rows, errors), _fit(rows, errors**2))


def _fit(rows: Floats, errors: Floats) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    known = ~np.isnan(rows).all(axis=0)
    # scikit-learn refuses a column without a value; a constant tells as little.
    rows = np.where(known, rows, 0.0)
    return HistGradientBoostingRegressor(
        max_iter=_N_TREES,
        max_leaf_nodes=_N_LEAVES,
        min_samples_leaf=_FEWEST_PER_LEAF,
        learning_rate=_RATE,
        early_stopping=False,
        random_state=0,
    ).fit(rows, errors)
