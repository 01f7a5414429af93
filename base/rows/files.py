"""Rows too many for memory, on their way into a segment: Parquet files, written and sorted in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import DataRefused, Fault
from base.rows.duck import open_duckdb, quote_name, quote_text
from base.rows.tables import MOMENT

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROW_GROUP = 100_000
"""Rows of one row group: small enough to be skipped, large enough to compress well."""

_BATCH_ROWS = 65_536
_FILE = "__everfit_file"


def stream_file(file: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read a Parquet file's rows in batches; memory stays flat."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
        yield from opened.iter_batches(_BATCH_ROWS, columns=columns)


def write_file(tables: Iterable[pa.Table], schema: pa.Schema, target: Path) -> int:
    """Write tables of one schema into a Parquet file, and count their rows; equal rows give an equal file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_rows, waiting, n_waiting = 0, [], 0
    with pq.ParquetWriter(target, schema.remove_metadata(), compression="zstd") as writer:
        for table in tables:
            waiting.append(table.select(schema.names).cast(schema, safe=False))
            n_waiting += table.num_rows
            n_rows += table.num_rows
            while n_waiting >= ROW_GROUP:
                whole = pa.concat_tables(waiting)
                writer.write_table(whole.slice(0, ROW_GROUP).replace_schema_metadata(None), row_group_size=ROW_GROUP)
                waiting, n_waiting = [whole.slice(ROW_GROUP)], n_waiting - ROW_GROUP
        if n_waiting or not n_rows:
            rest = pa.concat_tables(waiting) if waiting else schema.empty_table()
            writer.write_table(rest.replace_schema_metadata(None), row_group_size=ROW_GROUP)
    return n_rows


def has_loop_types(schema: pa.Schema) -> bool:
    """Tell whether a file's columns have the types that the loop knows, so that nothing need be written anew."""
    import pyarrow as pa

    known = {pa.int64(), pa.float64(), pa.string(), pa.bool_(), MOMENT}
    return all(field.type in known for field in schema)


def find_nan(files: Sequence[Path], schema: pa.Schema) -> set[Path]:
    """Find the files of one schema in which any number is NaN, which the loop writes as missing; one pass over all.

    A file's statistics do not tell: who writes them leaves NaN out. DuckDB believes them nevertheless, and would
    leave out row groups for a WHERE, or fold what it is asked to a constant; so it is told not to look at them.
    """
    import pyarrow as pa

    names = [field.name for field in schema if field.type == pa.float64()]
    if not names or not files:
        return set()
    any_nan = " OR ".join(f"max(isnan({quote_name(name)})::TINYINT) = 1" for name in names)
    rows = f"read_parquet([{', '.join(map(quote_text, files))}], filename = {quote_text(_FILE)})"
    with open_duckdb() as connection:
        connection.execute("SET disabled_optimizers = 'statistics_propagation'")
        is_any: list[Any] = connection.execute(f"SELECT {any_nan} FROM {rows}").fetchall()
        if not is_any[0][0]:
            return set()
        # A group for each file takes longer than one for all, and is made only where there is a NaN at all.
        found: list[Any] = connection.execute(
            f"SELECT {_FILE} FROM {rows} GROUP BY {_FILE} HAVING {any_nan}"
        ).fetchall()
    return {Path(name) for (name,) in found}


def read_order(file: Path, time: str) -> tuple[bool, Any, Any]:
    """Look at the time column alone: is it in order and without gaps, and where does it begin and end?

    A file that stayed as it was is looked at once in each process.
    """
    status = file.stat()
    return _read_order(file, time, (status.st_size, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=4096)
def _read_order(file: Path, time: str, _mark: tuple[int, int, int]) -> tuple[bool, Any, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    last: Any = None
    first: Any = None
    in_order = True
    for batch in stream_file(file, [time]):
        column = batch.column(0)
        if not len(column):
            continue
        ends = pc.min_max(column)
        if ends["min"].is_valid:
            first = ends["min"] if first is None or ends["min"].value < first.value else first
            if in_order:
                numbers = column.cast(pa.int64())
                in_order = (
                    column.null_count == 0 and pc.all(pc.less_equal(numbers[:-1], numbers[1:])).as_py() is not False
                )
                in_order = in_order and (last is None or column[0].value >= last.value)
            last = ends["max"] if last is None or ends["max"].value > last.value else last
        else:
            in_order = False
    return in_order, None if first is None else first.as_py(), None if last is None else last.as_py()


def sort_file(file: Path, time: str, target: Path) -> int:
    """Write a file's rows in time order, equal moments in the order they had, nulls last; it spills to disk."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(file)
    with open_duckdb() as connection:
        rows = connection.sql(
            f"SELECT * FROM read_parquet({quote_text(file)}, file_row_number = true) "
            f"ORDER BY {quote_name(time)} NULLS LAST, file_row_number"
        )
        return write_file(_tables(rows), schema, target)


def rewrite_file(file: Path, target: Path, change: Callable[[pa.Table, int], pa.Table], schema: pa.Schema) -> int:
    """Write a file's rows anew, each batch as *change* makes it from the batch and the number of its first row."""
    import pyarrow as pa

    def changed() -> Iterator[pa.Table]:
        start = 0
        for batch in stream_file(file):
            yield change(pa.Table.from_batches([batch]), start)
            start += batch.num_rows

    return write_file(changed(), schema, target)


def join_parts(source: str, parts: list[tuple[Path, pa.Schema]], target: Path) -> pa.Schema:
    """Write files whose types differ into one, each column in the wider of its types.

    Raises
    ------
    DataRefused
        If two types have nothing in common, such as numbers and text.
    """
    import pyarrow as pa

    from base.rows.tables import normalise

    schema = parts[0][1]
    for _, other in parts[1:]:
        try:
            schema = pa.unify_schemas([schema, other], promote_options="permissive")
        except pa.ArrowException as error:
            faults = [
                Fault(field.name, f"{other.field(field.name).type} after {field.type}", "values of one type")
                for field in schema
                if field.type != other.field(field.name).type
            ]
            way_out = "cast the column at the source, so that all its rows have one type"
            raise DataRefused(f"source {source!r}", faults, way_out) from error
    shape = normalise(schema.empty_table()).schema
    tables = (
        pa.Table.from_batches([batch]).cast(schema).cast(shape) for file, _ in parts for batch in stream_file(file)
    )
    write_file(tables, shape, target)
    return shape


class PartWriter:
    """Writes tables as they come, a new file whenever their types change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: pq.ParquetWriter | None = None
        self.parts: list[tuple[Path, pa.Schema]] = []
        self.n_rows = 0

    def write(self, table: pa.Table) -> None:
        import pyarrow.parquet as pq

        table = table.replace_schema_metadata(None)
        if self._writer is None or table.schema != self.parts[-1][1]:
            self.close()
            file = self._folder / f"part-{len(self.parts)}.parquet"
            self._writer = pq.ParquetWriter(file, table.schema, compression="lz4")
            self.parts.append((file, table.schema))
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        self.n_rows += table.num_rows

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _tables(rows: Any) -> Iterator[pa.Table]:
    import pyarrow as pa

    for batch in rows.to_arrow_reader(_BATCH_ROWS):
        yield pa.Table.from_batches([batch])
