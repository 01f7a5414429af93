"""How much of the target one column tells on its own, judged on rows that its model has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import Task

_OLDER_SHARE = 0.7
_MOST_BINS = 256
_FEWEST_ROWS = 20
# A value that was seen once tells little: it is drawn to the mean as if that had been seen so many times.
_PRIOR_ROWS = 1.0

_Floats = npt.NDArray[np.float64]


def measure_power(column: pd.Series[Any], target: pd.Series[Any], task: Task) -> float:
    """Fit a model of one column on the older 70 % of the rows and judge it on the newer 30 %.

    The model is the target's mean (or share of each class) in each value or bin of the column, missing
    being a value too; for quantities also a straight line, which follows a growing target where bins cannot.

    Parameters
    ----------
    column, target : Series of shape (n_rows,)
        In the order of time.

    Returns
    -------
    float
        Classification: the area under the ROC curve, of each class against the rest weighted by its rows.
        Regression: R². NaN where the rows are too few to say, or the target is the same in all newer ones.

    Examples
    --------
    >>> age = pd.Series(range(200))
    >>> measure_power(age % 7, age % 7 > 3, "classification")
    1.0
    """
    cut = int(len(column) * _OLDER_SHARE)
    if cut < _FEWEST_ROWS or len(column) - cut < _FEWEST_ROWS:
        return float("nan")
    codes = _encode(column, cut)
    if task == "regression":
        return _measure_r2(column, codes, target.to_numpy(dtype=np.float64), cut)
    powers, weights = [], []
    for value in target.iloc[cut:].unique():
        truth = (target == value).to_numpy()
        if truth[cut:].all() or not truth[:cut].any():
            continue
        powers.append(_area_under_roc(truth[cut:], _mean_by_code(codes, truth.astype(np.float64), cut)))
        weights.append(truth[cut:].sum())
    return float(np.average(powers, weights=weights)) if powers else float("nan")


def _encode(column: pd.Series[Any], cut: int) -> npt.NDArray[np.intp]:
    """Number the column's values or bins as the older rows show them; -1 is missing or never seen."""
    is_quantity = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if not is_quantity:
        known = pd.Index(column.iloc[:cut].dropna().unique())
        codes = known.get_indexer(pd.Index(column))
        # What is missing is a value of its own; what is new is not the same as what is missing.
        return np.where(column.isna().to_numpy(), len(known), codes).astype(np.intp)
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    older = numbers[:cut][np.isfinite(numbers[:cut])]
    values = np.unique(older)
    if len(values) > _MOST_BINS:
        values = np.unique(np.quantile(older, np.linspace(0, 1, _MOST_BINS + 1)[1:-1]))
    codes = np.searchsorted(values, numbers, side="left")
    return np.where(np.isnan(numbers), len(values) + 1, codes).astype(np.intp)


def _mean_by_code(codes: npt.NDArray[np.intp], values: _Floats, cut: int) -> _Floats:
    """Return for the newer rows what the older ones of the same code had on average."""
    size = int(codes.max()) + 2
    older = codes[:cut] + 1
    mean = float(values[:cut].mean())
    counts = np.bincount(older, minlength=size) + _PRIOR_ROWS
    sums = np.bincount(older, weights=values[:cut], minlength=size) + _PRIOR_ROWS * mean
    means: _Floats = (sums / counts)[codes[cut:] + 1]
    return means


def _measure_r2(column: pd.Series[Any], codes: npt.NDArray[np.intp], target: _Floats, cut: int) -> float:
    truth = target[cut:]
    spread = float(((truth - truth.mean()) ** 2).sum())
    if spread == 0:
        return float("nan")
    guesses = [_mean_by_code(codes, target, cut)]
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        older = np.isfinite(numbers[:cut])
        if older.sum() >= _FEWEST_ROWS and np.ptp(numbers[:cut][older]) > 0:
            slope, level = np.polyfit(numbers[:cut][older], target[:cut][older], 1)
            line = slope * numbers[cut:] + level
            guesses.append(np.where(np.isfinite(line), line, target[:cut].mean()))
    return max(1 - float(((truth - guess) ** 2).sum()) / spread for guess in guesses)


def _area_under_roc(truth: npt.NDArray[np.bool_], score: _Floats) -> float:
    ranks = pd.Series(score).rank().to_numpy()
    n_true = int(truth.sum())
    n_false = len(truth) - n_true
    return float((ranks[truth].sum() - n_true * (n_true + 1) / 2) / (n_true * n_false))
