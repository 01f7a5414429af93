"""Look for the slices where a model is worst: conditions on one column or two, found on half of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.bootstrap import MOST_BLOCKS

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_MOST_BY_LOSS = 6
_MOST_BY_RISE = 4
_FEWEST_ROWS = 30
_SMALLEST_SHARE = 0.01
# A slice must be worse than the rest by so many standard errors: among some ten thousand conditions, chance alone
# brings four, and the other half of the rows would not confirm it.
_SMALLEST_SCORE = 4.5
# Of two slices that share more of their rows, the second tells nothing new.
_MOST_OVERLAP = 0.5
# Two conditions are harder to read than one; both must be worth it.
_GAIN_OF_A_PAIR = 1.15
_MOST_SEARCHED_ROWS = 20_000
_MOST_CONDITIONS = 400
_N_QUANTILES = 7
_MOST_VALUES = 12


@dataclass(frozen=True)
class FoundSlice:
    """A condition in words, the columns that it looks at, and the rows of the other half that fulfil it."""

    condition: str
    columns: tuple[str, ...]
    rows: Booleans


@dataclass(frozen=True)
class _Condition:
    column: str
    text: str
    rows: Booleans


def search_slices(columns: pd.DataFrame, losses: Floats, rival: Floats | None) -> list[FoundSlice]:
    """Find up to six slices of highest loss, and beside a champion up to four where the challenger is worse than it.

    Every value of a category and both sides of a quantity's quantiles are tried, alone and in pairs, by how many
    standard errors the slice's mean is above that of all rows (the search space of Sagadeeva & Boehm 2021,
    *SliceLine*, up to two conditions, counted in one matrix product). The rows are cut into 30 blocks of time; the
    slices are looked for in every other one, and hold those rows of the remaining ones that fulfil them: what was
    picked for being the worst is measured where it was not picked.

    Parameters
    ----------
    columns : DataFrame of shape (n_rows, n_columns)
        Numbers, booleans and texts, in time order.
    losses, rival : arrays of shape (n_rows,)
        The challenger's losses, and the champion's.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"hour": draw.integers(0, 24, 4000), "carrier": draw.choice(["EV", "UA"], 4000)})
    >>> is_hard = (rows["hour"] > 18) & (rows["carrier"] == "EV")
    >>> losses = draw.random(4000) + 2 * is_hard.to_numpy()
    >>> [found.condition for found in search_slices(rows, losses, None)]
    ['hour > 18 and carrier = EV']
    """
    n_rows = len(columns)
    searched = np.arange(n_rows) * MOST_BLOCKS // max(n_rows, 1) % 2 == 0
    if searched.sum() < 2 * _FEWEST_ROWS or columns.empty:
        return []
    rows = np.flatnonzero(searched)
    rows = rows[:: max(1, -(-len(rows) // _MOST_SEARCHED_ROWS))]
    conditions = _list_conditions(columns, rows)
    if not conditions:
        return []
    found: list[tuple[int, ...]] = []
    for values, most in ((losses, _MOST_BY_LOSS), (None if rival is None else losses - rival, _MOST_BY_RISE)):
        if values is not None:
            found += _worst(conditions, values[rows], rows, most, found)
    slices = []
    for chosen in found:
        members = np.logical_and.reduce([conditions[index].rows for index in chosen]) & ~searched
        if members.sum() >= _FEWEST_ROWS:
            names = tuple(dict.fromkeys(conditions[index].column for index in chosen))
            text = " and ".join(conditions[index].text for index in chosen)
            slices.append(FoundSlice(text, names, members))
    return slices


def _worst(
    conditions: list[_Condition],
    values: Floats,
    rows: npt.NDArray[np.intp],
    most: int,
    before: list[tuple[int, ...]],
) -> list[tuple[int, ...]]:
    """Return the conditions of highest score, alone or in pairs, that share few rows with each other."""
    holds = np.stack([condition.rows[rows] for condition in conditions], axis=1).astype(np.float32)
    # Losses have long tails: capped, one row cannot make a slice.
    excess = np.minimum(values, np.quantile(values, 0.995)).astype(np.float32)
    excess = excess - excess.mean()
    spread = float(excess.std())
    if spread == 0:
        return []
    n_both = holds.T @ holds
    total = (holds * excess[:, None]).T @ holds
    fewest = max(_FEWEST_ROWS, _SMALLEST_SHARE * len(rows))
    score = np.where(n_both >= fewest, total / np.sqrt(np.maximum(n_both, 1)) / spread, -np.inf)
    alone = np.diag(score).copy()
    # A part that is too rare alone cannot be beaten; one that helps counts with what it has.
    score = np.where(score > _GAIN_OF_A_PAIR * np.maximum(np.maximum.outer(alone, alone), 0), score, -np.inf)
    np.fill_diagonal(score, alone)
    upper = np.triu(score)
    upper[np.tril_indices(len(upper), -1)] = -np.inf
    order = np.argsort(upper, axis=None)[::-1]
    chosen: list[tuple[int, ...]] = []
    taken = [np.logical_and.reduce([holds[:, index] > 0 for index in each]) for each in before]
    for place in order[:20_000]:
        one, other = (int(index) for index in np.unravel_index(place, upper.shape))
        if upper[one, other] < _SMALLEST_SCORE or len(chosen) == most:
            break
        members = (holds[:, one] > 0) & (holds[:, other] > 0)
        if any((members & each).sum() > _MOST_OVERLAP * min(members.sum(), each.sum()) for each in taken):
            continue
        taken.append(members)
        chosen.append((one,) if one == other else (one, other))
    return chosen


def _list_conditions(columns: pd.DataFrame, rows: npt.NDArray[np.intp]) -> list[_Condition]:
    conditions: list[_Condition] = []
    for name in columns.columns:
        of_column = _conditions_of(str(name), columns[name], rows)
        conditions += of_column
        if len(conditions) > _MOST_CONDITIONS:
            break
    return conditions[:_MOST_CONDITIONS]


def _conditions_of(name: str, values: pd.Series[Any], rows: npt.NDArray[np.intp]) -> Iterator[_Condition]:
    is_missing = values.isna().to_numpy(dtype=bool)
    if is_missing.any():
        yield _Condition(name, f"{name} is missing", is_missing)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        known = numbers[rows]
        known = np.sort(known[np.isfinite(known)])
        if not len(known):
            return
        cuts = np.unique(known[np.arange(1, _N_QUANTILES + 1) * len(known) // (_N_QUANTILES + 1)])
        for cut in cuts[cuts < known[-1]]:
            yield _Condition(name, f"{name} <= {cut:.6g}", numbers <= cut)
            yield _Condition(name, f"{name} > {cut:.6g}", numbers > cut)
        return
    counts = values.iloc[rows].value_counts()
    for value in counts[counts >= _FEWEST_ROWS].index[:_MOST_VALUES]:
        yield _Condition(name, f"{name} = {value}", (values == value).fillna(False).to_numpy(dtype=bool))
