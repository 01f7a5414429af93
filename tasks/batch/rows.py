"""Rows of a file as a client would send them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from base.contract_rules import ColumnRule

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def rows_from_table(table: pa.Table, columns: Mapping[str, ColumnRule]) -> list[Row]:
    """Write the rows of a table as JSON rows of the columns that a signature knows.

    What is missing is left out; an infinite number is missing, as it was in training. A column is read as the signature
    means it: a file format without types guesses, and may guess otherwise.

    Raises
    ------
    DataRefused
        If a column holds lists, records or bytes.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"age": [3.0, None], "zip": [8001, 8002], "note": ["", "x"]})
    >>> rows_from_table(table, {"age": ColumnRule(type="integer"), "zip": ColumnRule(type="text")})
    [{'age': 3, 'zip': '8001'}, {'zip': '8002'}]
    """
    from base.rows.tables import normalise

    table = normalise(table.select([name for name in table.column_names if name in columns]))
    names = table.column_names
    if not names:
        return [{} for _ in range(table.num_rows)]
    values = [_values(table, name, columns[name]) for name in names]
    if any(None in column for column in values):
        return [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in zip(*values, strict=True)
        ]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _values(table: pa.Table, name: str, rule: ColumnRule) -> list[Any]:
    import pyarrow as pa

    from base.rows.time_columns import parse_time

    if rule.type == "time":
        table = parse_time(table, name)
    column = table[name].combine_chunks()
    kind = column.type
    found: list[Any]
    if rule.type == "text" and pa.types.is_integer(kind):
        found = column.cast(pa.string()).to_pylist()
    elif pa.types.is_timestamp(kind):
        found = _write_moments(column)
    elif pa.types.is_floating(kind):
        numbers = column.to_numpy(zero_copy_only=False)
        is_there = np.isfinite(numbers)
        found = _whole(numbers, is_there) if rule.type == "integer" else numbers.tolist()
        for place in np.flatnonzero(~is_there).tolist():
            found[place] = None
    elif pa.types.is_integer(kind) and not column.null_count:
        found = column.to_numpy().tolist()
    else:
        found = column.to_pylist()
    return found


def _whole(numbers: Any, is_there: Any) -> list[Any]:
    """Write numbers as whole ones, where gaps alone have made them others."""
    known = numbers[is_there]
    if not (np.abs(known) < 2**53).all() or not (known == np.trunc(known)).all():
        found: list[Any] = numbers.tolist()
        return found
    whole: list[Any] = np.where(is_there, numbers, 0).astype(np.int64).tolist()
    return whole


def _write_moments(column: pa.Array) -> list[Any]:
    numbers = column.cast("int64")
    gaps = numbers.is_null().to_numpy(zero_copy_only=False)
    moments = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    unit: Any = "us" if (moments % 1_000_000).any() else "s"
    texts = np.datetime_as_string(moments.view("datetime64[us]"), unit=unit).tolist()
    return [None if gap else f"{text}Z" for text, gap in zip(texts, gaps.tolist(), strict=True)]
