"""Read rows that lie in segments: as a table in their order, in batches, or as a view for SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from base.artifacts import Artifact, ArtifactStore
from base.references import Rows, Segment
from base.rows.duck import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

SEGMENT, POSITION = "__segment", "__position"
_STORED = "position"
_BATCH_ROWS = 65_536


def load_rows(artifacts: ArtifactStore, rows: Rows, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read all rows that count into one table, in their order, every file verified."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = None if columns is None else list(columns)
    reading = wanted if wanted is None or rows.time is None else list(dict.fromkeys([*wanted, rows.time]))
    tables = []
    for segment in rows.segments:
        path = artifacts.local_path(segment.artifact)
        # An older segment may lack a column that the source has got since.
        held = None if reading is None else [name for name in pq.read_schema(path).names if name in reading]
        table = pq.read_table(path, columns=held)
        if segment.n_dropped:
            table = table.filter(pc.invert(pa.array(_is_dropped(artifacts, segment))))
        tables.append(table)
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
    parts = []
    for index, segment in enumerate(rows.segments):
        path = quote_text(artifacts.local_path(segment.artifact))
        part = (
            f"SELECT * EXCLUDE (file_row_number), {index} AS {SEGMENT}, file_row_number AS {POSITION} "
            f"FROM read_parquet({path}, file_row_number = true)"
        )
        for artifact in segment.dropped:
            gone = f"SELECT {_STORED} FROM read_parquet({quote_text(artifacts.local_path(artifact))})"
            part = f"SELECT * FROM ({part}) WHERE {POSITION} NOT IN ({gone})"
        parts.append(part)
    union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS {union}")


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
    return segment.model_copy(
        update={
            "dropped": (*segment.dropped, store_positions(artifacts, positions)),
            "n_dropped": segment.n_dropped + len(positions),
        }
    )


def _is_dropped(artifacts: ArtifactStore, segment: Segment) -> npt.NDArray[np.bool_]:
    import numpy as np
    import pyarrow.parquet as pq

    mask = np.zeros(segment.n_stored, dtype=bool)
    for artifact in segment.dropped:
        mask[pq.read_table(artifacts.local_path(artifact))[_STORED].to_numpy()] = True
    return mask


def _is_ordered(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    flat = column.combine_chunks()
    if len(flat) < 2:
        return True
    return flat.null_count == 0 and bool(pc.all(pc.less_equal(flat[:-1], flat[1:])).as_py())
