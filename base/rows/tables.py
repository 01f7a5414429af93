"""Tables in one shape: the few column types that the loop knows, whoever wrote the file or returned the frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from base.contract import ColumnType
from base.errors import DataRefused, Fault

if TYPE_CHECKING:
    import pandas as pd

MOMENT = pa.timestamp("us", tz="UTC")
"""The one type of a moment: pandas writes nanoseconds, Arrow microseconds, and engines refuse to compare them."""


def normalise(table: pa.Table) -> pa.Table:
    """Bring a table into the types that the loop knows.

    Numbers become ``int64`` or ``double`` (decimals and durations, in seconds, too), dates and times
    ``timestamp[us, UTC]`` (a moment without a zone is taken as UTC), dictionaries and times of day text.
    NaN becomes null: both mean that a value is missing. Infinity stays, since whether it may occur is the
    contract's business. The rows and their order stay.

    Raises
    ------
    DataRefused
        If a column has no name or another's, or holds lists, records or bytes.

    Examples
    --------
    >>> normalise(pa.table({"age": pa.array([3, None], pa.uint8())})).schema.field("age").type
    DataType(int64)
    >>> normalise(pa.table({"tags": [["a"], []]}))
    Traceback (most recent call last):
    base.errors.DataRefused: the table is refused:
      - column 'tags': found list<item: string>, expected numbers, text, booleans or times
      take the column out of the source, or cut it into plain columns
    """
    check_names(table.column_names)
    faults = [
        Fault(field.name, str(field.type), "numbers, text, booleans or times")
        for field in table.schema
        if _common_type(field.type) is None
    ]
    if faults:
        raise DataRefused("the table", faults, "take the column out of the source, or cut it into plain columns")
    columns = {name: _normalise_column(name, table.column(name)) for name in table.column_names}
    return pa.table(columns) if columns else pa.table({})


def frame_to_table(frame: pd.DataFrame) -> pa.Table:
    """Turn a frame that a user's function returned into a table; its index is left behind.

    Raises
    ------
    DataRefused
        If a column's name is no text, is empty or another's, or its values are of several types.

    Examples
    --------
    >>> import pandas as pd
    >>> frame_to_table(pd.DataFrame({"age": [31, "old"]}))
    Traceback (most recent call last):
    base.errors.DataRefused: the table is refused:
      - column 'age': found int 31 (row 0) and str 'old' (row 1), expected values of one type
      convert the column in the function that returns it, such as with pandas.to_numeric
    """
    names = list(frame.columns)
    if strange := [name for name in names if not isinstance(name, str)]:
        faults = [Fault(None, f"a column named {name!r} ({type(name).__name__})", "text") for name in strange[:3]]
        raise DataRefused("the table", faults, "rename the columns, such as with frame.rename(columns=str)")
    check_names(names)
    columns: dict[str, pa.Array] = {}
    faults = []
    for name in names:
        try:
            columns[name] = pa.array(frame[name], from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            faults.append(Fault(name, _describe_mixture(frame[name], error), "values of one type"))
    if faults:
        raise DataRefused(
            "the table", faults, "convert the column in the function that returns it, such as with pandas.to_numeric"
        )
    return normalise(pa.table(columns))


def table_types(table: pa.Table) -> dict[str, ColumnType]:
    """Name the type of each column of a normalised table; a column without any value counts as numbers.

    Examples
    --------
    >>> table_types(normalise(pa.table({"age": [3.5], "name": ["Ann"], "gone": [None]})))
    {'age': 'number', 'name': 'text', 'gone': 'number'}
    """
    names: dict[Any, ColumnType] = {
        pa.int64(): "integer",
        pa.float64(): "number",
        pa.string(): "text",
        pa.bool_(): "boolean",
        MOMENT: "time",
    }
    return {field.name: names[field.type] for field in table.schema}


def all_null_columns(table: pa.Table) -> tuple[str, ...]:
    """List the columns that hold no value in any row; of an empty table, none."""
    if table.num_rows == 0:
        return ()
    return tuple(name for name in table.column_names if table.column(name).null_count == table.num_rows)


def check_names(names: list[str], *, what: str = "the table") -> None:
    """Refuse columns without a name, or several of one name.

    Raises
    ------
    DataRefused
    """
    faults = [
        Fault(None, f"no name for column {index + 1}", "a name") for index, name in enumerate(names) if not name.strip()
    ]
    twice = sorted({name for name in names if name.strip() and names.count(name) > 1})
    faults += [Fault(name, f"{names.count(name)} columns of this name", "one") for name in twice]
    if faults:
        raise DataRefused(what, faults, "name every column in the file or the query, each differently")


def _normalise_column(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_duration(column.type):
        column = pc.divide(column.cast(pa.duration("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
    if pa.types.is_time(column.type) and _has_whole_seconds(column):
        column = column.cast(pa.time32("s"))
    wanted = _common_type(column.type)
    try:
        # Nanoseconds are cut to microseconds and a decimal's digits beyond a double's are rounded.
        column = column.cast(wanted, safe=pa.types.is_integer(column.type))
    except pa.ArrowInvalid as error:
        fault = Fault(name, f"{column.type} with a value beyond {wanted}", f"values within {wanted}")
        raise DataRefused("the table", [fault], "write such values as text or as numbers with a point") from error
    if wanted == pa.float64():
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    return column


def _has_whole_seconds(column: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.equal(pc.subsecond(column), 0), min_count=0).as_py())


def _common_type(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_dictionary(kind):
        return _common_type(kind.value_type)
    return next((common for fits, common in _COMMON_TYPES if fits(kind)), None)


_COMMON_TYPES = (
    (pa.types.is_boolean, pa.bool_()),
    (pa.types.is_integer, pa.int64()),
    (pa.types.is_floating, pa.float64()),
    (pa.types.is_decimal, pa.float64()),
    (pa.types.is_duration, pa.float64()),
    (pa.types.is_null, pa.float64()),
    (pa.types.is_string, pa.string()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_time, pa.string()),
    (pa.types.is_timestamp, MOMENT),
    (pa.types.is_date, MOMENT),
)


def _describe_mixture(column: pd.Series[Any], error: Exception) -> str:
    first: tuple[int, object] | None = None
    for row, value in _present_values(column):
        if first is None:
            first = (row, value)
        elif type(value) is not type(first[1]):
            one, other = (f"{type(item).__name__} {item!r} (row {at})" for at, item in (first, (row, value)))
            return f"{one} and {other}"
    return f"values that cannot be stored ({error})"


def _present_values(column: pd.Series[Any]) -> Iterator[tuple[int, object]]:
    missing = column.isna().tolist()
    return ((row, value) for row, value in enumerate(column.tolist()) if not missing[row])
