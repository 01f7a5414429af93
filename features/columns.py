"""Columns as an estimator sees them: quantities as float32, categories as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.errors import EverfitError
from features.categories import name_category

_EPOCH = pd.Timestamp(0, tz=UTC)


class FeatureRefused(EverfitError):
    """A feature cannot be made of these rows."""

    exit_code = 3


def as_float32(column: pd.Series[Any]) -> npt.NDArray[np.float32]:
    """Take a column as a quantity: moments as seconds since 1970, durations as seconds.

    Raises
    ------
    FeatureRefused
        If a value is no number.
    """
    values = _as_float64(column)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    # A number beyond float32 is no quantity that a model has learnt; it counts as missing, like infinity.
    narrow[~np.isfinite(narrow)] = np.nan
    return narrow


def as_categories(column: pd.Series[Any]) -> pd.Series[Any]:
    """Write categories as text, the same in training and serving; missing ones stay missing (NaN).

    A code such as agent 9 comes as 9 from JSON and as 9.0 from a column with gaps; both are ``"9"``.

    Examples
    --------
    >>> as_categories(pd.Series([9.0, None, 10.5])).tolist()
    ['9', nan, '10.5']
    """
    levels: Any
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        codes, levels = pd.factorize(values, use_na_sentinel=True)
    elif column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) != "string":
        # 1, 1.0 and True are equal to a hash table, and the first of them would name the others.
        return pd.Series([name_category(value) for value in column], index=column.index, dtype=object)
    else:
        codes, levels = pd.factorize(column, use_na_sentinel=True)
    names = np.array([name_category(value) for value in levels], dtype=object)
    texts = np.full(len(column), np.nan, dtype=object)
    texts[codes >= 0] = names[codes[codes >= 0]]
    return pd.Series(texts, index=column.index, dtype=object)


def as_ranks(column: pd.Series[Any], order: Sequence[str]) -> npt.NDArray[np.float32]:
    """Take ranked categories as quantities: 0 for the lowest; one that is not in *order* is missing.

    Examples
    --------
    >>> as_ranks(pd.Series(["high", "low", "?"]), ["low", "middle", "high"]).tolist()
    [2.0, 0.0, nan]
    """
    ranks = {value: rank for rank, value in enumerate(order)}
    found: npt.NDArray[np.float32] = as_categories(column).map(ranks).astype("float64").to_numpy().astype(np.float32)
    return found


def _as_float64(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    if pd.api.types.is_datetime64_any_dtype(column):
        column = (column.dt.tz_localize(UTC) if column.dt.tz is None else column) - _EPOCH
    if pd.api.types.is_timedelta64_dtype(column):
        # In seconds, whatever unit the column counts in; a missing one stays missing.
        column = column.dt.total_seconds()
    if not pd.api.types.is_numeric_dtype(column):
        column = _parse_numbers(column)
    values: npt.NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _parse_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    # Row by row: a column of mixed values must not be read in another way than one of its rows alone.
    numbers = [_parse_number(value) for value in column]
    wrong = [value for value, number in zip(column, numbers, strict=True) if number is None]
    if wrong:
        raise FeatureRefused(
            f"feature {column.name!r} is a quantity, but {len(wrong):,} of its values are no numbers, "
            f"such as {str(wrong[0])[:40]!r}; mend them, or name it in prepare.categorical"
        )
    return pd.Series(numbers, index=column.index, dtype="float64")


def _parse_number(value: Any) -> float | None:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
