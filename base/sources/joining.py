"""Join side sources to the main one by their keys: every row of the main one stays, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import DataRefused, Fault
from base.rows.duck import open_duckdb, quote_name, quote_text
from base.rows.files import write_file
from base.rows.increments import check_unique

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from base.sources.reading import Content


@dataclass(frozen=True)
class Side:
    """A source to join, and by which columns."""

    name: str
    content: Content
    on: tuple[str, ...]


def join_sides(main: Content, sides: list[Side], into: Path) -> tuple[Content, dict[str, int]]:
    """Give each row of the main source the columns of the side rows with its key; nulls where there is none.

    Returns
    -------
    Content, dict
        The joined rows in the order of the main ones, and by side how many of them found no row there.

    Raises
    ------
    DataRefused
        If a key's column is missing or of another type, a key stands twice in a side, or two sources have
        columns of one name.
    """
    import pyarrow as pa

    schema = _schema(main)
    unmatched = {}
    with open_duckdb() as connection:
        _view(connection, "main_rows", main)
        selected, joins = ["m.* EXCLUDE (file_row_number)"], []
        for index, side in enumerate(sides):
            other = _schema(side.content)
            _check_columns(schema, other, side)
            _view(connection, f"side_{index}", side.content)
            check_unique(connection, f"side_{index}", side.on, f"source {side.name!r}")
            added = [name for name in other.names if name not in side.on]
            selected += [f"s{index}.{quote_name(name)}" for name in added]
            on = " AND ".join(f"m.{quote_name(name)} = s{index}.{quote_name(name)}" for name in side.on)
            joins.append(f"LEFT JOIN side_{index} s{index} ON {on}")
            found: list[Any] = connection.execute(
                f"SELECT count(*) FROM main_rows m WHERE NOT EXISTS (SELECT 1 FROM side_{index} s{index} WHERE {on})"
            ).fetchall()
            unmatched[side.name] = int(found[0][0])
            for name in added:
                schema = schema.append(other.field(name))
        rows: Any = connection.sql(
            f"SELECT {', '.join(selected)} FROM main_rows m {' '.join(joins)} ORDER BY m.file_row_number"
        )
        if isinstance(main, Path):
            target = into / "joined.parquet"
            write_file((pa.Table.from_batches([batch]) for batch in rows.to_arrow_reader(65_536)), schema, target)
            return target, unmatched
        return rows.to_arrow_reader(65_536).read_all().cast(schema), unmatched


def _schema(content: Content) -> pa.Schema:
    import pyarrow.parquet as pq

    schema = pq.read_schema(content) if isinstance(content, Path) else content.schema
    return schema.remove_metadata()


def _view(connection: duckdb.DuckDBPyConnection, name: str, content: Content) -> None:
    import numpy as np
    import pyarrow as pa

    if isinstance(content, Path):
        rows = f"SELECT * FROM read_parquet({quote_text(content)}, file_row_number = true)"
        connection.execute(f"CREATE TEMP VIEW {name} AS {rows}")
        return
    connection.register(name, content.append_column("file_row_number", pa.array(np.arange(content.num_rows))))


def _check_columns(main: pa.Schema, other: pa.Schema, side: Side) -> None:
    faults = []
    for name in side.on:
        for schema, where in ((main, "the main source"), (other, f"source {side.name!r}")):
            if name not in schema.names:
                faults.append(Fault(name, f"no such column in {where}", "it, since 'join' names it"))
        if not faults and main.field(name).type != other.field(name).type:
            kinds = f"{main.field(name).type} in the main source and {other.field(name).type} in {side.name!r}"
            faults.append(Fault(name, kinds, "one type in both, so that keys can be compared"))
    twice = [name for name in other.names if name not in side.on and name in main.names]
    faults += [Fault(name, f"it in {side.name!r} and in a source before it", "a name of its own") for name in twice]
    if faults:
        way_out = "rename or cast the column at the source (a query can), or correct 'join'"
        raise DataRefused(f"the join with source {side.name!r}", faults, way_out)
