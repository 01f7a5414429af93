"""Read rows that lie in segments: as a table in their order, in batches, or as a view for SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from base.artifacts import Artifact, ArtifactStore
from base.cores import count_cores, map_on_cores
from base.references import Rows, Segment
from base.rows.duck import quote_name, quote_text
from base.rows.kept import find_kept_rows

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

SEGMENT, POSITION = "__segment", "__position"
_STORED = "position"
_BATCH_ROWS = 65_536
_COLUMNS_OF_A_CORE = 2
_MOST_LISTS = 8


def load_rows(artifacts: ArtifactStore, rows: Rows, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read all rows that count into one table, in their order, every file verified."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = None if columns is None else list(columns)
    if (kept := find_kept_rows()) is not None and (held := kept.find(rows)) is not None:
        return held if wanted is None else held.select(wanted)
    reading = wanted if wanted is None or rows.time is None else list(dict.fromkeys([*wanted, rows.time]))

    def load(segment: Segment) -> pa.Table:
        return _load_segment(artifacts, segment, reading)

    # Many columns keep all cores busy by themselves; two whole segments at once would only take more memory.
    few = reading is not None and len(reading) < count_cores() * _COLUMNS_OF_A_CORE
    tables = map_on_cores(load, rows.segments) if few else [load(segment) for segment in rows.segments]
    table = pa.concat_tables(tables, promote_options="permissive")
    if rows.time is not None and not _is_ordered(table[rows.time]):
        # Arrow's sort is not stable; the row's number keeps equal moments in the order of their segments.
        keys = pa.table({"time": table[rows.time], "number": pa.array(range(table.num_rows))})
        table = table.take(pc.sort_indices(keys, sort_keys=[("time", "ascending"), ("number", "ascending")]))
    return table if wanted is None else table.select(wanted)


def read_schema(artifacts: ArtifactStore, rows: Rows) -> pa.Schema:
    """Read the columns that any segment has, with their types, and no rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if (kept := find_kept_rows()) is not None and (held := kept.find(rows)) is not None:
        return held.schema
    schemas = [pq.read_schema(artifacts.local_path(segment.artifact)) for segment in rows.segments]
    return pa.unify_schemas(schemas, promote_options="permissive")


def stream_segment(
    artifacts: ArtifactStore, segment: Segment, *, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read one segment's rows that count in batches, in their stored order; memory stays flat."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    is_dropped = pa.array(_is_dropped(artifacts, segment)) if segment.n_dropped else None
    with pq.ParquetFile(artifacts.local_path(segment.artifact), pre_buffer=False, buffer_size=1 << 20) as file:
        start = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=None if columns is None else list(columns)):
            if is_dropped is None:
                yield batch
            else:
                yield batch.filter(pc.invert(is_dropped.slice(start, batch.num_rows)))
            start += batch.num_rows


def view_rows(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, rows: Rows, *, name: str = "rows"
) -> None:
    """Make a view of all rows that count, with :data:`SEGMENT` (its index) and :data:`POSITION` as columns.

    The order is not kept: ``ORDER BY`` the time, :data:`SEGMENT` and :data:`POSITION` where it matters.
    """
    parts = [select_segment_rows(artifacts, segment, index) for index, segment in enumerate(rows.segments)]
    union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS {union}")


def select_segment_rows(artifacts: ArtifactStore, segment: Segment, index: int) -> str:
    """Write the SELECT of one segment's rows that count, with :data:`SEGMENT` and :data:`POSITION`."""
    path = quote_text(artifacts.local_path(segment.artifact))
    return without_dropped(artifacts, segment, index, f"SELECT * FROM read_parquet({path}, file_row_number = true)")


def without_dropped(artifacts: ArtifactStore, segment: Segment, index: int, rows: str) -> str:
    """Write the SELECT of those of a file's rows, told apart by ``file_row_number``, that count in a segment."""
    part = f"SELECT * EXCLUDE (file_row_number), {index} AS {SEGMENT}, file_row_number AS {POSITION} FROM ({rows})"
    for artifact in segment.dropped:
        gone = f"SELECT {_STORED} FROM read_parquet({quote_text(artifacts.local_path(artifact))})"
        part = f"SELECT * FROM ({part}) WHERE {POSITION} NOT IN ({gone})"
    return part


def store_positions(artifacts: ArtifactStore, positions: Sequence[int]) -> Artifact:
    """Store the positions of rows that do not count any more."""
    import tempfile
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({_STORED: pa.array(sorted(positions), pa.int64())})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "positions.parquet")
        pq.write_table(table, file, compression="zstd")
        return artifacts.put_file(file)


def drop_positions(artifacts: ArtifactStore, segment: Segment, positions: Sequence[int]) -> Segment:
    """Return the segment without the rows at some positions, which counted until now."""
    if not len(positions):
        return segment
    before = segment.dropped
    if len(before) < _MOST_LISTS:
        dropped = (*before, store_positions(artifacts, positions))
    else:
        # Each list is a file to open and a filter over the rows; those of many days become one.
        known = [position for artifact in before for position in read_positions(artifacts, artifact).tolist()]
        dropped = (store_positions(artifacts, [*known, *positions]),)
    return segment.model_copy(update={"dropped": dropped, "n_dropped": segment.n_dropped + len(positions)})


def _load_segment(artifacts: ArtifactStore, segment: Segment, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # Not pq.read_table, whose look for partitions in the path costs more than a column of a million rows.
    with pq.ParquetFile(artifacts.local_path(segment.artifact), pre_buffer=columns is None) as file:
        # An older segment may lack a column that the source has got since.
        held = None if columns is None else [name for name in file.schema_arrow.names if name in columns]
        table = file.read(columns=held)
    if segment.n_dropped:
        table = table.filter(pc.invert(pa.array(_is_dropped(artifacts, segment))))
    return table


def read_positions(artifacts: ArtifactStore, dropped: Artifact) -> npt.NDArray[np.int64]:
    """Read the positions of rows that do not count any more."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(artifacts.local_path(dropped)) as file:
        positions: npt.NDArray[np.int64] = file.read()[_STORED].to_numpy()
    return positions


def _is_dropped(artifacts: ArtifactStore, segment: Segment) -> npt.NDArray[np.bool_]:
    import numpy as np

    mask = np.zeros(segment.n_stored, dtype=bool)
    for artifact in segment.dropped:
        mask[read_positions(artifacts, artifact)] = True
    return mask


def _is_ordered(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    if len(column) < 2:
        return True
    if column.null_count:
        return False
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    borders = all(one[-1].as_py() <= next_[0].as_py() for one, next_ in pairwise(chunks))
    return borders and all(bool(pc.all(pc.less_equal(chunk[:-1], chunk[1:])).as_py()) for chunk in chunks)
