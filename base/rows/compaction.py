"""Merge small segments that follow one another: the same rows in the same order, in fewer files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from base.artifacts import ArtifactStore
from base.references import Rows, Segment
from base.rows.duck import open_duckdb, quote_name
from base.rows.files import read_order, write_file
from base.rows.reading import POSITION, SEGMENT, read_schema, view_rows

MOST_SMALL = 16
"""So many small segments in a row may stand; each costs a file to open, to verify and to judge."""

SMALL_ROWS = 100_000
"""A segment of fewer rows is small. A merged one may be, too, and is then merged again with later ones."""

_BATCH_ROWS = 65_536


def compact_rows(
    artifacts: ArtifactStore, rows: Rows, *, most_small: int = MOST_SMALL, small_rows: int = SMALL_ROWS
) -> Rows:
    """Merge runs of more than *most_small* small segments into one segment each, without the rows that do not count.

    Only neighbours are merged, so that rows of equal moments keep their order. No file is changed or deleted: whoever
    refers to the old segments reads them as before. Nothing to merge gives *rows* themselves.
    """
    segments: list[Segment] = []
    for is_small, group in groupby(rows.segments, key=lambda segment: _count(segment) < small_rows):
        run = list(group)
        n_rows = sum(map(_count, run))
        segments += [_merge(artifacts, run, rows.time)] if is_small and n_rows and len(run) > most_small else run
    return rows if len(segments) == len(rows.segments) else rows.model_copy(update={"segments": tuple(segments)})


def _merge(artifacts: ArtifactStore, run: list[Segment], time: str | None) -> Segment:
    rows = Rows(segments=tuple(run), time=time)
    schema = read_schema(artifacts, rows).remove_metadata()
    order = [SEGMENT, POSITION] if time is None else [f"{quote_name(time)} NULLS LAST", SEGMENT, POSITION]
    names = ", ".join(map(quote_name, schema.names))
    with tempfile.TemporaryDirectory(prefix="everfit-compact-") as folder, open_duckdb() as connection:
        view_rows(connection, artifacts, rows)
        found = connection.sql(f"SELECT {names} FROM rows ORDER BY {', '.join(order)}")
        file = Path(folder, "rows.parquet")
        n_rows = write_file(_tables(found), schema, file)
        first, last = (None, None) if time is None else read_order(file, time)[1:]
        return Segment(artifact=artifacts.put_file(file), n_stored=n_rows, first=first, last=last)


def _count(segment: Segment) -> int:
    return segment.n_stored - segment.n_dropped


def _tables(rows: Any) -> Iterator[Any]:
    import pyarrow as pa

    for batch in rows.to_arrow_reader(_BATCH_ROWS):
        yield pa.Table.from_batches([batch])
