"""From the rows that a source gave to a stored segment: moments, target, time order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from base.artifacts import ArtifactStore
from base.contract import ColumnType
from base.cores import map_on_cores
from base.errors import DataRefused, Fault, nearest
from base.pipeline import Pipeline, Target
from base.references import Segment
from base.rows.files import read_order, rewrite_file, sort_file, write_file
from base.rows.tables import MOMENT, normalise, table_types
from base.rows.time_columns import parse_time
from base.sources.cuts import Watermark
from base.sources.reading import Content, name_source
from features.targets import columns_of, compute_target
from tasks.frames import store_rows

_Change = Callable[[pa.Table, int], pa.Table]


def shape_rows(content: Content, pipeline: Pipeline, into: Path, *, latest: datetime | None = None) -> Content:
    """Read the moments, compute the target and order the rows by time; a file stays a file.

    Parameters
    ----------
    latest : datetime, optional
        Leave out the rows after it.

    Raises
    ------
    DataRefused
        If there is no such time column, or a value in it is no moment.
    DefinitionError
        If the target's expression cannot be computed.
    """
    time = pipeline.spec.time
    if time is not None and count_rows(content) and time not in read_schema(content).names:
        raise _no_time(pipeline, read_schema(content).names, time)
    return (
        _shape_file(content, pipeline, into, latest)
        if isinstance(content, Path)
        else _shape_table(content, pipeline, latest)
    )


def store_content(artifacts: ArtifactStore, content: Content, time: str | None) -> Segment:
    """Store rows in their order as one segment; a file is taken byte for byte."""
    if not isinstance(content, Path):
        (segment,) = store_rows(artifacts, content, time=time).segments
        return segment
    first = last = None
    if time is not None:
        _, first, last = read_order(content, time)
    return Segment(artifact=artifacts.put_file(content), n_stored=count_rows(content), first=first, last=last)


def keep_in_file(content: Content, into: Path) -> Path:
    """Write rows that are in memory into a file."""
    if isinstance(content, Path):
        return content
    target = into / "kept.parquet"
    write_file([content], content.schema, target)
    return target


def look_at_order(files: Sequence[Path], time: str | None) -> None:
    """Look at the order of several files at once, which is known from then on."""

    def look(file: Path) -> None:
        schema = read_schema(file)
        if time is not None and time in schema.names and schema.field(time).type == MOMENT:
            read_order(file, time)

    map_on_cores(look, files)


def choose_rows(content: Content, numbers: Any, into: Path) -> Content:
    """Keep the rows with some numbers, in their order."""
    if not isinstance(content, Path):
        return content.take(pa.array(numbers, pa.int64()))
    import numpy as np

    chosen = np.zeros(count_rows(content), dtype=bool)
    chosen[numbers] = True
    target = into / "chosen.parquet"
    rewrite_file(
        content,
        target,
        lambda table, start: table.filter(pa.array(chosen[start : start + table.num_rows])),
        read_schema(content),
    )
    return target


def largest_value(content: Content, column: str) -> Watermark | None:
    """Return the largest moment or whole number of a column.

    Raises
    ------
    DataRefused
        If it holds anything else, or is not there.
    """
    schema = read_schema(content)
    kind = schema.field(column).type if column in schema.names else None
    if kind not in (MOMENT, pa.int64()):
        found = "no such column" if kind is None else str(kind)
        fault = Fault(column, found, "moments or whole numbers, since extract.incremental.watermark names it")
        raise DataRefused("the source", [fault], f"name another column{nearest(column, schema.names)}")
    if isinstance(content, Path):
        value = read_order(content, column)[2]
    else:
        value = pc.max(content[column]).as_py()
    return value  # type: ignore[no-any-return]


def content_types(content: Content) -> dict[str, ColumnType]:
    """Name the type of each column."""
    return table_types(read_schema(content).empty_table())


def read_schema(content: Content) -> pa.Schema:
    """Return the columns with their types."""
    return pq.read_schema(content).remove_metadata() if isinstance(content, Path) else content.schema


def count_rows(content: Content) -> int:
    """Count the rows."""
    return int(pq.read_metadata(content).num_rows if isinstance(content, Path) else content.num_rows)


def _shape_table(table: pa.Table, pipeline: Pipeline, latest: datetime | None) -> pa.Table:
    spec = pipeline.spec
    if table.num_rows:
        for name in _moment_columns(pipeline, table.schema):
            table = parse_time(table, name)
    if table.num_rows and spec.time is not None:
        column = table[spec.time].combine_chunks()
        is_ordered = column.null_count == 0 and pc.all(pc.less_equal(column[:-1], column[1:])).as_py() is not False
        if not is_ordered:
            table = table.take(pc.sort_indices(table, sort_keys=[(spec.time, "ascending")]))
        if latest is not None:
            table = table.filter(pc.less_equal(table[spec.time], pa.scalar(latest, MOMENT)))
    if table.num_rows and isinstance(spec.target, Target):
        table = _with_column(table, spec.target.name, _target(table, spec.target))
    return table


def _shape_file(file: Path, pipeline: Pipeline, into: Path, latest: datetime | None) -> Path:
    spec = pipeline.spec
    schema = read_schema(file)
    added: dict[str, pa.ChunkedArray] = {}
    for name in _moment_columns(pipeline, schema):
        if schema.field(name).type != MOMENT:
            added[name] = parse_time(pq.ParquetFile(file).read([name]), name)[name]
    if isinstance(spec.target, Target):
        # An expression may look at all rows (a mean), so it sees its columns whole; they are few.
        names = [name for name in columns_of(spec.target.expression) if name in schema.names]
        inputs = pq.ParquetFile(file).read(names)
        for name in names:
            if name in added:
                inputs = inputs.set_column(inputs.column_names.index(name), name, added[name])
        added[spec.target.name] = _target(inputs, spec.target)
    is_hidden = _is_after(file, spec.time, latest, added)
    if added or is_hidden is not None:
        change = _changer(added, is_hidden)
        target = into / "shaped.parquet"
        rewrite_file(file, target, change, change(schema.empty_table(), 0).schema)
        file = target
    if spec.time is not None and count_rows(file) and not read_order(file, spec.time)[0]:
        target = into / "sorted.parquet"
        sort_file(file, spec.time, target)
        file = target
    return file


def _changer(added: dict[str, pa.ChunkedArray], is_hidden: pa.ChunkedArray | None) -> _Change:
    def change(table: pa.Table, start: int) -> pa.Table:
        n_rows = table.num_rows
        for name, values in added.items():
            table = _with_column(table, name, values.slice(start, n_rows))
        return table if is_hidden is None else table.filter(pc.invert(is_hidden.slice(start, n_rows)))

    return change


def _is_after(
    file: Path, time: str | None, latest: datetime | None, added: dict[str, pa.ChunkedArray]
) -> pa.ChunkedArray | None:
    if time is None or latest is None:
        return None
    moments = added[time] if time in added else pq.ParquetFile(file).read([time])[time]
    is_after = pc.fill_null(pc.greater(moments, pa.scalar(latest, MOMENT)), True)
    is_after = is_after if isinstance(is_after, pa.ChunkedArray) else pa.chunked_array([is_after])
    return is_after if pc.any(is_after).as_py() else None


def _with_column(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    if name in table.column_names and pa.types.is_timestamp(values.type):
        return table.set_column(table.column_names.index(name), name, values)
    table = table.select([other for other in table.column_names if other != name])
    return table.append_column(name, values)


def _target(table: pa.Table, target: Target) -> pa.ChunkedArray:
    return normalise(pa.table({target.name: compute_target(table, target)}))[target.name]


def _moment_columns(pipeline: Pipeline, schema: pa.Schema) -> list[str]:
    """Name the columns to read as moments: the time, and a watermark that is written as text."""
    names = [] if pipeline.spec.time is None else [pipeline.spec.time]
    incremental = pipeline.spec.extract.incremental
    watermark = None if incremental is None else incremental.watermark
    if watermark in schema.names and pa.types.is_string(schema.field(watermark).type):
        names.append(str(watermark))
    return list(dict.fromkeys(names))


def _no_time(pipeline: Pipeline, names: list[str], name: str) -> DataRefused:
    found = ", ".join(names[:20])
    return DataRefused(
        f"source {name_source(pipeline.spec.extract.main_source)!r}",
        [Fault(name, "no such column", f"the column that key 'time' names; there are {found}")],
        f"Correct 'time' in {pipeline.file.name}, or the source{nearest(name, names)}",
    )
