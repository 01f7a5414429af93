"""From where an increment is read: rows above a value of the watermark column, and those without one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.times import as_utc

if TYPE_CHECKING:
    import pyarrow as pa

Watermark = datetime | int


@dataclass(frozen=True)
class Cut:
    """Rows whose *column* is above *value*, or missing, are read; the others are known already."""

    column: str
    value: Watermark


def read_watermark(value: object) -> Watermark | None:
    """Read a watermark as a document holds it.

    Examples
    --------
    >>> read_watermark("2024-05-03T12:00:00+00:00").isoformat(), read_watermark(17), read_watermark(None)
    ('2024-05-03T12:00:00+00:00', 17, None)
    """
    if isinstance(value, str):
        return as_utc(datetime.fromisoformat(value))
    return value if isinstance(value, int) else None


def keep_above(table: pa.Table, cut: Cut | None) -> pa.Table:
    """Keep the rows of a normalised table that a cut lets through."""
    if cut is None or cut.column not in table.column_names or not table.num_rows:
        return table
    import pyarrow as pa
    import pyarrow.compute as pc

    from base.rows.tables import MOMENT
    from base.rows.time_columns import parse_time

    column = table[cut.column]
    if isinstance(cut.value, datetime):
        if column.null_count == table.num_rows:
            return table
        column = parse_time(table, cut.column)[cut.column]
        limit = pa.scalar(cut.value, MOMENT)
    else:
        limit = pa.scalar(cut.value)
    return table.filter(pc.or_kleene(pc.is_null(column), pc.greater(column, limit)))


def count_above(table: pa.Table, cut: Cut) -> tuple[int, datetime | None]:
    """Count the rows above a cut, and find the newest moment among them; a database may give moments as text.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = pa.table({"at": ["2024-05-01 10:00", "2024-05-01 12:00", None]})
    >>> count_above(rows, Cut("at", datetime(2024, 5, 1, 11, tzinfo=UTC)))
    (1, datetime.datetime(2024, 5, 1, 12, 0, tzinfo=datetime.timezone.utc))
    """
    import pandas as pd

    values = table[cut.column].to_pandas()
    if not isinstance(cut.value, datetime):
        return int((pd.to_numeric(values, errors="coerce") > cut.value).sum()), None
    moments = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601" if values.dtype == object else None)
    above = moments[moments > cut.value]
    return len(above), None if above.empty else above.max().to_pydatetime()


def groups_above(cut: Cut, file: Path) -> list[int]:
    """List the row groups of a Parquet file that may hold rows above a cut, by their statistics."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    index = next(
        (i for i in range(metadata.num_columns) if metadata.schema.column(i).path == cut.column),
        None,
    )
    everything = list(range(metadata.num_row_groups))
    if index is None:
        return everything
    return [group for group in everything if _may_hold(metadata.row_group(group).column(index).statistics, cut)]


def _may_hold(statistics: Any, cut: Cut) -> bool:
    if statistics is None or not statistics.has_min_max or not statistics.has_null_count or statistics.null_count:
        return True
    largest = statistics.max
    if isinstance(cut.value, datetime):
        return not isinstance(largest, datetime) or as_utc(largest) > cut.value
    return not isinstance(largest, int) or isinstance(largest, bool) or largest > cut.value


def bind_above(example: object, cut: Cut) -> object | None:
    """Write a cut's value as a database compares it with values such as *example*; None where it cannot.

    What is written may let more rows through than the cut, never fewer: dates and texts are cut a day or two
    before, since neither tells the zone that it was meant in.

    Examples
    --------
    >>> cut = Cut("at", datetime(2024, 5, 3, 12, tzinfo=UTC))
    >>> bind_above("2024-05-03T11:00:00+02:00", cut)
    '2024-05-01'
    >>> bind_above(17, cut) is None
    True
    """
    from datetime import date

    if isinstance(cut.value, int):
        return cut.value if isinstance(example, int) and not isinstance(example, bool) else None
    if isinstance(example, datetime):
        return cut.value.astimezone(UTC).replace(tzinfo=None) if example.tzinfo is None else cut.value
    if isinstance(example, date):
        return cut.value.date() - timedelta(days=1)
    if isinstance(example, str) and example[:4].isdigit() and example[4:5] == "-":
        return (cut.value.date() - timedelta(days=2)).isoformat()
    return None
