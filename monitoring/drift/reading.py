"""Columns of a window as the tests take them: numbers in their order, levels with their rows, runs of gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.categories import name_category

Column: TypeAlias = "pd.Series[Any] | pa.ChunkedArray | pa.Array"


@dataclass(frozen=True)
class NumberColumn:
    """The finite numbers of a column, in the order of the rows and sorted; all others count as missing."""

    n_rows: int
    in_order: npt.NDArray[Any]
    ordered: npt.NDArray[Any]
    n_infinite: int = 0
    n_unreadable: int = 0
    unreadable: str = ""
    longest_gap: int = 0

    @property
    def n_missing(self) -> int:
        """Rows without a finite number."""
        return self.n_rows - len(self.ordered)


@dataclass(frozen=True)
class LevelColumn:
    """How many rows hold each level."""

    n_rows: int
    counts: dict[str, int] = field(default_factory=dict)
    longest_gap: int = 0

    @property
    def n_missing(self) -> int:
        """Rows without a value."""
        return self.n_rows - sum(self.counts.values())


def read_numbers(column: Column, dtype: str) -> NumberColumn:
    """Read a column as numbers: moments in seconds since 1970, truth as 0 and 1, texts where they are numbers.

    Examples
    --------
    >>> read = read_numbers(pd.Series([3, "2", "two", None, float("inf")], dtype=object), "float64")
    >>> read.ordered.tolist(), read.n_missing, read.n_infinite, read.n_unreadable
    ([2.0, 3.0], 3, 1, 1)
    """
    values, wrong = _parse(column)
    with np.errstate(over="ignore"):
        values = values.astype(dtype, copy=False)
    is_finite = np.isfinite(values)
    is_whole = bool(is_finite.all())
    kept = values if is_whole else values[is_finite]
    return NumberColumn(
        n_rows=len(values),
        in_order=kept,
        ordered=np.sort(kept),
        n_infinite=0 if is_whole else int(np.isinf(values).sum()),
        n_unreadable=len(wrong),
        unreadable=str(wrong[0])[:40] if len(wrong) else "",
        longest_gap=0 if is_whole else longest_run(~is_finite),
    )


def read_values(column: Column) -> npt.NDArray[np.float64]:
    """Read a column as :func:`read_numbers` does, one value for each row, NaN for what is missing."""
    values = _parse(column)[0].astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def count_levels(column: Column) -> LevelColumn:
    """Count the rows of each level, named as the model sees it.

    Examples
    --------
    >>> count_levels(pd.Series(["red", None, 9.0, "red"], dtype=object)).counts
    {'red': 2, '9': 1}
    """
    values = _as_arrow(column)
    counts: dict[str, int] = {}
    found = pc.value_counts(values)
    for level, n in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True):
        name = name_category(level)
        if isinstance(name, str):
            counts[name] = counts.get(name, 0) + n
    n_rows = len(values)
    gap = 0
    if sum(counts.values()) < n_rows:
        gap = longest_run(pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False))
    return LevelColumn(n_rows=n_rows, counts=counts, longest_gap=gap)


def text_lengths(column: Column) -> npt.NDArray[np.float64]:
    """Measure how long the texts of a column are, sorted; missing ones are left out."""
    values = _as_arrow(column)
    if not pa.types.is_string(values.type) and not pa.types.is_large_string(values.type):
        values = pa.array([str(value) for value in values.to_pylist() if value is not None], pa.string())
    lengths = pc.utf8_length(values.drop_null())
    return np.sort(np.asarray(lengths, dtype=np.float64))


def longest_run(mask: npt.NDArray[np.bool_]) -> int:
    """Measure the longest run of true values.

    Examples
    --------
    >>> longest_run(np.array([True, False, True, True, False]))
    2
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _parse(column: Column) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a column as floats, and what of it is no number."""
    series: pd.Series[Any] = column if isinstance(column, pd.Series) else column.to_pandas()
    none = np.array([], dtype=object)
    if pd.api.types.is_datetime64_any_dtype(series):
        moments = series.dt.tz_localize("UTC") if series.dt.tz is None else series
        return (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(), none
    if pd.api.types.is_timedelta64_dtype(series):
        return series.dt.total_seconds().to_numpy(), none
    if pd.api.types.is_numeric_dtype(series):
        # Numbers of less than 64 bits stay so; pandas' own kinds have gaps of their own.
        is_plain = isinstance(series.dtype, np.dtype) and series.dtype.kind == "f"
        return series.to_numpy() if is_plain else series.to_numpy(dtype=np.float64, na_value=np.nan), none
    values = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return values, series[np.isnan(values) & series.notna().to_numpy()].to_numpy()


def _as_arrow(column: Column) -> Any:
    if not isinstance(column, pd.Series):
        values = column
    else:
        try:
            values = pa.array(column, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            # Values of several types; the model knows them by their names, too.
            names = [name_category(value) for value in column]
            values = pa.array([name if isinstance(name, str) else None for name in names], pa.string())
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values
