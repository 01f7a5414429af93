"""Groups of rows by the values of one column: what slices and fairness are measured over."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

MISSING = "missing"
OTHERS = "others"
FEWEST_ROWS = 30
"""A group of fewer rows is too small for its figures to say anything."""

_MOST_GROUPS = 20
_QUANTITY_GROUPS = 5


def group_rows(values: pd.Series[Any], *, like: pd.Series[Any] | None = None) -> dict[str, npt.NDArray[np.bool_]]:
    """Group rows by a column: its frequent values, or fifths of a quantity; a null is a group too.

    Parameters
    ----------
    like : Series, optional
        Other rows' values of the column, such as the reference's, whose groups are taken: the same value is then in a
        group of the same name on both sides.

    Returns
    -------
    dict of group to array of bool of shape (n_rows,)
        The largest first; beyond 20 values the rest is ``others``. A row belongs to exactly one.

    Examples
    --------
    >>> {name: int(rows.sum()) for name, rows in group_rows(pd.Series(["f", None, "m", "f"])).items()}
    {'f': 2, 'm': 1, 'missing': 1}
    >>> list(group_rows(pd.Series(range(100))))
    ['up to 19', '20 to 39', '40 to 59', '60 to 79', 'above 79']
    >>> groups = group_rows(pd.Series([5, 95, 500]), like=pd.Series(range(100)))
    >>> {name: int(rows.sum()) for name, rows in groups.items() if rows.any()}
    {'up to 19': 1, 'above 79': 2}
    """
    is_missing = values.isna().to_numpy(dtype=bool)
    known = (values if like is None else like).dropna()
    if _is_quantity(known):
        numbers = pd.to_numeric(values, errors="coerce")
        is_missing = numbers.isna().to_numpy(dtype=bool)
        groups = _fifths(numbers.to_numpy(dtype=np.float64, na_value=np.nan), is_missing, known)
    else:
        counts = known.value_counts()
        frequent = list(counts.index[:_MOST_GROUPS])
        groups = {}
        for value in frequent:
            rows = (values == value).fillna(False).to_numpy(dtype=bool)
            # Two values may be written alike, such as 1 and '1'.
            groups[str(value)] = groups.get(str(value), False) | rows
        rest = ~is_missing & ~np.any(list(groups.values()), axis=0) if groups else ~is_missing
        if rest.any():
            groups[OTHERS] = groups.get(OTHERS, False) | rest
    if is_missing.any():
        groups[MISSING] = groups.get(MISSING, False) | is_missing
    return groups


def _is_quantity(known: pd.Series[Any]) -> bool:
    if pd.api.types.is_bool_dtype(known) or not pd.api.types.is_numeric_dtype(known):
        return False
    return bool(known.nunique() > _MOST_GROUPS)


def _fifths(
    values: npt.NDArray[np.float64], is_missing: npt.NDArray[np.bool_], quantity: pd.Series[Any]
) -> dict[str, npt.NDArray[np.bool_]]:
    known = np.sort(quantity.to_numpy(dtype=np.float64))
    edges = np.unique(known[np.arange(1, _QUANTITY_GROUPS) * len(known) // _QUANTITY_GROUPS - 1])
    edges = edges[edges < known[-1]]
    place = np.searchsorted(edges, values)
    groups = {}
    for index in range(len(edges) + 1):
        rows = (place == index) & ~is_missing
        if index == 0:
            name = f"up to {edges[0]:g}" if len(edges) else f"{known[0]:g} to {known[-1]:g}"
        elif index == len(edges):
            name = f"above {edges[-1]:g}"
        else:
            name = f"{known[np.searchsorted(known, edges[index - 1], side='right')]:g} to {edges[index]:g}"
        groups[name] = rows
    return groups
