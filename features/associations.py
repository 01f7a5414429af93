"""How strongly each column goes with the target, measured the way its kind and the target's allow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import Task

_FEWEST_ROWS = 20


@dataclass(frozen=True)
class Association:
    """How a column goes with the target: from 0, not at all, to 1; below 0 where one falls as the other grows."""

    column: str
    measure: str
    value: float


def measure_associations(frame: pd.DataFrame, target: str, task: Task) -> list[Association]:
    """Measure each column's association with the target, the strongest first.

    =============  ==========================  ==================================
    column         target is a quantity        target is a class
    =============  ==========================  ==================================
    a quantity     Spearman's correlation      correlation ratio of its ranks
    a category     correlation ratio           Cramér's V
    =============  ==========================  ==================================

    Ratio and V are corrected for what chance gives many categories, so an identifier does not look strong.
    Moments count as quantities. A column that is the same in every row, or all missing, is left out.

    Examples
    --------
    >>> ages = pd.DataFrame({"age": range(50), "young": [age < 25 for age in range(50)]})
    >>> measure_associations(ages, "age", "regression")[0].measure
    'correlation ratio'
    """
    found = []
    for name in frame.columns:
        if name == target:
            continue
        pair = frame[[name, target]].dropna()
        if len(pair) < _FEWEST_ROWS or pair[name].nunique() < 2 or pair[target].nunique() < 2:
            continue
        measure, value = _measure(pair[name], pair[target], task)
        if math.isfinite(value):
            found.append(Association(str(name), measure, value))
    return sorted(found, key=lambda item: -abs(item.value))


def _measure(column: pd.Series[Any], target: pd.Series[Any], task: Task) -> tuple[str, float]:
    quantity = _as_quantity(column)
    if task == "regression":
        goal = target.to_numpy(dtype=np.float64)
        if quantity is not None:
            return "Spearman", _spearman(quantity, goal)
        return "correlation ratio", correlation_ratio(pd.factorize(column)[0], goal)
    classes = pd.factorize(target)[0]
    if quantity is not None:
        return "correlation ratio", correlation_ratio(classes, np.asarray(pd.Series(quantity).rank(), dtype=np.float64))
    return "Cramér's V", cramers_v(pd.factorize(column)[0], classes)


def _as_quantity(column: pd.Series[Any]) -> npt.NDArray[np.float64] | None:
    if pd.api.types.is_datetime64_any_dtype(column):
        return np.asarray(column.astype("int64"), dtype=np.float64)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values: npt.NDArray[np.float64] = np.clip(column.to_numpy(dtype=np.float64), -1e300, 1e300)
        return values
    return None


def _spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    ranks = pd.DataFrame({"one": one, "other": other}).rank()
    return float(ranks["one"].corr(ranks["other"]))


def correlation_ratio(groups: npt.NDArray[np.intp], values: npt.NDArray[np.float64]) -> float:
    """Measure how much of the spread of *values* lies between groups: the root of epsilon squared.

    Parameters
    ----------
    groups : array of int of shape (n_rows,)
        Numbered from 0.
    values : array of shape (n_rows,)
    """
    n_rows, n_groups = len(values), int(groups.max()) + 1
    spread = float(((values - values.mean()) ** 2).sum())
    if spread == 0 or n_rows <= n_groups:
        return 0.0
    counts = np.bincount(groups, minlength=n_groups)
    sums = np.bincount(groups, weights=values, minlength=n_groups)
    means = np.divide(sums, counts, out=np.zeros(n_groups), where=counts > 0)
    within = float(((values - means[groups]) ** 2).sum())
    epsilon = 1 - (within / (n_rows - n_groups)) / (spread / (n_rows - 1))
    return math.sqrt(min(1.0, max(0.0, epsilon)))


def cramers_v(one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> float:
    """Measure how two categories go together: Cramér's V, with Bergsma's correction (2013).

    Parameters
    ----------
    one, other : array of int of shape (n_rows,)
        Numbered from 0.
    """
    n_rows, n_one, n_other = len(one), int(one.max()) + 1, int(other.max()) + 1
    together = np.bincount(one * n_other + other, minlength=n_one * n_other).reshape(n_one, n_other)
    expected = np.outer(together.sum(axis=1), together.sum(axis=0)) / n_rows
    chi2 = float(((together - expected) ** 2 / np.where(expected > 0, expected, 1)).sum())
    phi2 = max(0.0, chi2 / n_rows - (n_one - 1) * (n_other - 1) / (n_rows - 1))
    k_one = n_one - (n_one - 1) ** 2 / (n_rows - 1)
    k_other = n_other - (n_other - 1) ** 2 / (n_rows - 1)
    least = min(k_one, k_other) - 1
    return math.sqrt(min(1.0, phi2 / least)) if least > 0 else 0.0
