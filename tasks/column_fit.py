"""New rows in the types of those that are stored."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from base.contract import ColumnType
from base.sources.reading import Content
from tasks.row_shaping import content_types, read_schema

_NULL_TYPES: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
}


def fit_types(content: Content, columns: dict[str, ColumnType]) -> Content | None:
    """Write new rows in the types of the old ones; None where they have other columns, or types that do not meet."""
    found = content_types(content)
    if found.keys() != columns.keys():
        return None
    numbers = {"integer", "number"}
    odd = [name for name in found if found[name] != columns[name] and not {found[name], columns[name]} <= numbers]
    if not odd:
        return content
    if isinstance(content, Path) or any(content[name].null_count < content.num_rows for name in odd):
        return None
    # A column without any value has no type of its own.
    fields = [
        pa.field(item.name, _NULL_TYPES[columns[item.name]] if item.name in odd else item.type)
        for item in read_schema(content)
    ]
    return content.cast(pa.schema(fields))


def merge_types(before: dict[str, ColumnType], now: dict[str, ColumnType]) -> dict[str, ColumnType]:
    """Return the types of columns that :func:`fit_types` has found to meet: an integer meets a number as a number."""
    return {name: kind if now[name] == kind else "number" for name, kind in before.items()}
