"""What an increment changes: which of its rows are new, late or corrected, and which old ones they supersede."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from base.artifacts import ArtifactStore
from base.errors import DataRefused, Fault
from base.references import Rows, Segment
from base.rows.duck import open_duckdb, quote_name, quote_text
from base.rows.reading import POSITION, SEGMENT, drop_positions
from base.rows.segment_facts import Facts, find_places

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from base.sources.cuts import Cut, Watermark
    from base.sources.reading import Content

_NUMBER, _COPY = "__everfit_number", "__everfit_copy"
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Changes:
    """What a re-read stretch of a source says about the rows that are stored.

    *added* holds the numbers of the read rows to store; *dropped* the positions, by segment, of the stored rows
    that do not count any more. A corrected row stands in both.
    """

    n_read: int
    added: npt.NDArray[np.int64]
    dropped: dict[int, list[int]] = field(default_factory=dict)
    n_new: int = 0
    n_late: int = 0
    n_corrected: int = 0
    n_removed: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is new."""
        return not len(self.added) and not self.dropped


def find_changes(
    artifacts: ArtifactStore,
    before: Rows,
    fresh: Content,
    *,
    cut: Cut,
    last: Watermark,
    key: Sequence[str],
    facts: Facts = MappingProxyType({}),
) -> Changes:
    """Compare the rows that were read above a cut with those that are stored.

    Above the cut, the source is right: a stored row that is there no more was changed or removed. Below it,
    a stored row is superseded when a row with its key was read. Equal rows are told apart by their number, so
    that a row that stands twice at the source stands twice here.

    Parameters
    ----------
    last : datetime or int
        The watermark of the rows that are stored: a new row at or below it came late.
    key : sequence of str
        Columns that identify a row; without any, a correction is a row removed and another one added.
    facts : mapping of digest to SegmentFacts
        What is known of stored segments; those without are opened.

    Raises
    ------
    DataRefused
        If a key stands twice in what was read.
    """
    n_read = _count(fresh)
    if not n_read:
        return Changes(0, np.array([], dtype=np.int64))
    with open_duckdb() as connection:
        _view_fresh(connection, fresh)
        names = _names(connection)
        if key:
            check_unique(connection, "fresh", key, "what was read")
        places = find_places(connection, artifacts, before, facts, cut=cut, key=key)
        connection.register("candidates", _take(artifacts, before, places, _schema(fresh)))
        connection.execute(f"CREATE TEMP TABLE old AS {_select_superseded(cut, key)}", {"cut": cut.value})
        return _compare(connection, names, cut=cut, last=last, key=key, n_read=n_read)


def apply_changes(artifacts: ArtifactStore, before: Rows, changes: Changes, new: Segment | None) -> Rows:
    """Return the rows that count now: the stored ones without those that were superseded, and the new segment."""
    segments = [
        drop_positions(artifacts, segment, changes.dropped.get(index, []))
        for index, segment in enumerate(before.segments)
    ]
    return Rows(segments=(*segments, new) if new is not None else tuple(segments), time=before.time)


def check_key(contents: Sequence[Content], key: Sequence[str], what: str) -> None:
    """Refuse rows of which two have the same key.

    Raises
    ------
    DataRefused
        It names some of the keys.
    """
    names = []
    with open_duckdb() as connection:
        for number, content in enumerate(contents):
            names.append(f"part_{number}")
            if isinstance(content, Path):
                connection.execute(f"CREATE TEMP VIEW {names[-1]} AS SELECT * FROM read_parquet({quote_text(content)})")
            else:
                connection.register(names[-1], content)
        union = " UNION ALL BY NAME ".join(f"SELECT * FROM {name}" for name in names)
        connection.execute(f"CREATE TEMP VIEW every_row AS {union}")
        check_unique(connection, "every_row", key, what)


def check_unique(connection: duckdb.DuckDBPyConnection, view: str, key: Sequence[str], what: str) -> None:
    """Refuse a view in which a key stands twice; a key with a null in it is none."""
    there = {row[0] for row in connection.execute(f"DESCRIBE {view}").fetchall()}
    missing = [name for name in key if name not in there]
    if missing:
        faults = [Fault(name, "no such column", "it, since it is part of the key") for name in missing]
        raise DataRefused(what, faults, "correct the key in the definition, or the source")
    columns = ", ".join(map(quote_name, key))
    present = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in key)
    doubled: list[Any] = connection.execute(
        f"SELECT {columns}, count(*) FROM {view} WHERE {present} GROUP BY {columns} HAVING count(*) > 1 "
        f"ORDER BY count(*) DESC, {columns} LIMIT {_MOST_SHOWN}"
    ).fetchall()
    if doubled:
        faults = [
            Fault(", ".join(key), f"key {', '.join(map(str, row[:-1]))} in {row[-1]:,} rows", "each key once")
            for row in doubled
        ]
        way_out = "give one row for each key (a query with GROUP BY can), or name more columns as the key"
        raise DataRefused(what, faults, way_out)


def _select_superseded(cut: Cut, key: Sequence[str]) -> str:
    """Write the SELECT of the candidates that the source was asked for anew; others only share a hash with one."""
    column = quote_name(cut.column)
    asked = f"h.{column} > $cut OR h.{column} IS NULL"
    if key:
        on = " AND ".join(f"h.{quote_name(name)} = f.{quote_name(name)}" for name in key)
        asked += f" OR EXISTS (SELECT 1 FROM fresh f WHERE {on})"
    return f"SELECT * FROM candidates h WHERE {asked}"


def _take(artifacts: ArtifactStore, before: Rows, places: dict[int, list[int]], schema: pa.Schema) -> pa.Table:
    """Read the rows at some positions of some segments; row groups without any are not read.

    Without positions, no rows of *schema*.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for index, positions in places.items():
        wanted = np.array(positions)
        with pq.ParquetFile(artifacts.local_path(before.segments[index].artifact)) as file:
            start = 0
            for group in range(file.metadata.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                here = wanted[(wanted >= start) & (wanted < stop)]
                if len(here):
                    table = file.read_row_group(group).take(pa.array(here - start))
                    table = table.append_column(SEGMENT, pa.array([index] * len(here), pa.int64()))
                    tables.append(table.append_column(POSITION, pa.array(here, pa.int64())))
                start = stop
    if not tables:
        empty = schema.empty_table()
        return empty.append_column(SEGMENT, pa.array([], pa.int64())).append_column(POSITION, pa.array([], pa.int64()))
    return pa.concat_tables(tables, promote_options="permissive")


def _compare(
    connection: duckdb.DuckDBPyConnection,
    names: list[str],
    *,
    cut: Cut,
    last: Watermark,
    key: Sequence[str],
    n_read: int,
) -> Changes:
    columns = ", ".join(map(quote_name, names))
    for view, order in (("fresh", _NUMBER), ("old", f"{SEGMENT}, {POSITION}")):
        copy = f"row_number() OVER (PARTITION BY {columns} ORDER BY {order}) AS {_COPY}"
        connection.execute(f"CREATE TEMP TABLE {view}_copies AS SELECT *, {copy} FROM {view}")
    equal = " AND ".join(f"o.{quote_name(name)} IS NOT DISTINCT FROM f.{quote_name(name)}" for name in [*names, _COPY])
    connection.execute(f"CREATE TEMP TABLE added AS SELECT * FROM fresh_copies f ANTI JOIN old_copies o ON {equal}")
    connection.execute(f"CREATE TEMP TABLE gone AS SELECT * FROM old_copies o ANTI JOIN fresh_copies f ON {equal}")
    is_corrected = "false"
    if key:
        on = " AND ".join(f"g.{quote_name(name)} = a.{quote_name(name)}" for name in key)
        is_corrected = f"EXISTS (SELECT 1 FROM gone g WHERE {on})"
    is_late = f"coalesce(a.{quote_name(cut.column)} <= $last, true)"
    added: list[Any] = connection.execute(
        f"SELECT {_NUMBER}, {is_corrected}, {is_late} FROM added a ORDER BY {_NUMBER}", {"last": last}
    ).fetchall()
    dropped: dict[int, list[int]] = {}
    for segment, position in connection.execute(f"SELECT {SEGMENT}, {POSITION} FROM gone ORDER BY ALL").fetchall():
        dropped.setdefault(segment, []).append(position)
    n_corrected = sum(corrected for _, corrected, _ in added)
    n_late = sum(late and not corrected for _, corrected, late in added)
    return Changes(
        n_read=n_read,
        added=np.array([number for number, _, _ in added], dtype=np.int64),
        dropped=dropped,
        n_new=len(added) - n_corrected - n_late,
        n_late=n_late,
        n_corrected=n_corrected,
        n_removed=sum(map(len, dropped.values())) - n_corrected,
    )


def _view_fresh(connection: duckdb.DuckDBPyConnection, fresh: Content) -> None:
    import pyarrow as pa

    if isinstance(fresh, Path):
        file = f"read_parquet({quote_text(fresh)}, file_row_number = true)"
        rows = f"SELECT * RENAME (file_row_number AS {_NUMBER}) FROM {file}"
        connection.execute(f"CREATE TEMP VIEW fresh AS {rows}")
    else:
        connection.register("fresh", fresh.append_column(_NUMBER, pa.array(np.arange(fresh.num_rows))))


def _names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in connection.execute("DESCRIBE fresh").fetchall() if row[0] != _NUMBER]


def _schema(content: Content) -> pa.Schema:
    import pyarrow.parquet as pq

    return pq.read_schema(content) if isinstance(content, Path) else content.schema


def _count(content: Content) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(content).num_rows if isinstance(content, Path) else content.num_rows)
