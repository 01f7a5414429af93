"""Frames of rows to and from stored Parquet."""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from base.artifacts import Artifact, ArtifactStore
from base.references import Part, Rows, Segment

_ROW_GROUP = 100_000


def store_table(artifacts: ArtifactStore, table: pa.Table) -> Artifact:
    """Store a table as Parquet; equal content gives an equal digest."""
    # The metadata that pandas leaves in a table depends on how the frame was made, not on what it holds.
    table = table.replace_schema_metadata(None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.parquet")
        pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP)
        return artifacts.put_file(file)


def store_rows(artifacts: ArtifactStore, table: pa.Table, *, time: str | None) -> Rows:
    """Store a table as rows of one segment."""
    first = last = None
    if time is not None and table.num_rows:
        ends = pc.min_max(table[time]).as_py()
        first, last = ends["min"], ends["max"]
    stored = Segment(artifact=store_table(artifacts, table), n_stored=table.num_rows, first=first, last=last)
    return Rows(segments=(stored,), time=time)


def load_table(artifacts: ArtifactStore, artifact: Artifact, *, columns: list[str] | None = None) -> pa.Table:
    """Read a stored table, verified."""
    return pq.read_table(artifacts.local_path(artifact), columns=columns)


def load_frame(
    artifacts: ArtifactStore, artifact: Artifact, *, columns: list[str] | None = None, part: Part | None = None
) -> pd.DataFrame:
    """Read a stored table, or a part of its rows, as a frame, verified."""
    table = load_table(artifacts, artifact, columns=columns)
    if part is not None:
        table = table.slice(part.start, part.n_rows)
    # Column by column, what has become a frame is let go.
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    del table
    give_back_memory()
    return frame


def store_frame(artifacts: ArtifactStore, frame: pd.DataFrame) -> Artifact:
    """Store a frame's columns as Parquet, without its index."""
    return store_table(artifacts, pa.Table.from_pandas(frame, preserve_index=False))


def give_back_memory() -> None:
    """Give the system back what is free: Arrow and the C library keep it, and the next step's peak would add to it."""
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
