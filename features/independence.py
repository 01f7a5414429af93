"""Each row stands for itself: a feature that looks at other rows sees the future, and another one when it is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.errors import UserCodeError
from features.columns import as_categories

# Spread over the table, so that no row has its neighbour beside it.
_ROWS_TRIED = 32
_ROWS_TRIED_ALONE = 2
# A logarithm of one number and of a whole column may differ in the last digit.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9


class LooksAtOtherRows(UserCodeError):
    """A feature function whose value for a row depends on the rows beside it."""

    exit_code = 2

    def __init__(self, path: str, column: str, row: int, among: object, apart: object) -> None:
        super().__init__(
            path,
            f"looks at other rows: column {column!r} of row {row:,} is {show_cell(among)} among all rows and "
            f"{show_cell(apart)} without most of them",
            "in training it would see the future, and a request has other neighbours; let each row stand for itself, "
            "or learn what it needs from the training rows in a class under prepare.fitted",
        )
        self.column = column
        self.row = row


def check_independence(
    path: str, before: pd.DataFrame, after: pd.DataFrame, call: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    """Call a feature function again with a few rows, and compare what they got among all rows.

    Parameters
    ----------
    before, after : DataFrame of shape (n_rows, n_columns)
        All rows as they went into the function, and as they came out.
    call : callable
        The function.

    Raises
    ------
    LooksAtOtherRows
        Naming a column and a row whose value is another one.
    UserCodeError
        If the function fails on a few rows.
    """
    if before.empty:
        return
    chosen = np.unique(np.linspace(0, len(before) - 1, _ROWS_TRIED).astype(int))
    for rows in [chosen, *(chosen[[number]] for number in range(0, len(chosen), -(-len(chosen) // _ROWS_TRIED_ALONE)))]:
        few = before.iloc[rows].reset_index(drop=True)
        try:
            apart = call(few)
        except UserCodeError as error:
            raise UserCodeError(
                path,
                f"works on all rows and not on {'a single one' if len(rows) == 1 else f'{len(rows)} of them'}: {error}",
                "a request may hold as few; let each row stand for itself",
            ) from error
        _compare(path, after.iloc[rows].reset_index(drop=True), apart, rows)


def find_difference(one: pd.Series[Any], other: pd.Series[Any]) -> int | None:
    """Return the first place where two columns hold what an estimator would take for different values.

    Examples
    --------
    >>> find_difference(pd.Series([1.0, 2.0, None]), pd.Series([1, 3, 4])), find_difference(*[pd.Series([None])] * 2)
    (1, None)
    """
    if _is_quantity(one) and _is_quantity(other):
        first, second = (column.to_numpy(dtype=np.float64, na_value=np.nan) for column in (one, other))
        with np.errstate(invalid="ignore"):
            is_equal: npt.NDArray[np.bool_] = np.isclose(
                first, second, rtol=_RELATIVE, atol=_ABSOLUTE * _largest(first), equal_nan=True
            )
    else:
        texts, others = as_categories(one), as_categories(other)
        is_equal = ((texts == others) | (texts.isna() & others.isna())).to_numpy(dtype=bool)
    return None if is_equal.all() else int(np.argmin(is_equal))


def show_cell(value: Any) -> str:
    """Write one value of a frame for a message.

    Examples
    --------
    >>> show_cell(np.float64(1 / 3)), show_cell("x"), show_cell(None)
    ('0.333333', "'x'", 'missing')
    """
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "missing"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return repr(value.item() if isinstance(value, np.generic) else value)[:60]


def _compare(path: str, among: pd.DataFrame, apart: pd.DataFrame, rows: npt.NDArray[Any]) -> None:
    for name in among.columns:
        if name not in apart.columns:
            raise LooksAtOtherRows(path, name, int(rows[0]), among[name].iloc[0], "not there")
        place = find_difference(among[name], apart[name])
        if place is not None:
            raise LooksAtOtherRows(path, name, int(rows[place]), among[name].iloc[place], apart[name].iloc[place])


def _is_quantity(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)


def _largest(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max()) if len(finite) else 0.0
