"""Quarantine: rows that were set aside, with all their columns, and every rule that each of them breaks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.artifacts import Artifact, ArtifactStore
from base.references import Segment
from base.rows.duck import quote_name, quote_text
from base.validation.judgement import FOUND
from base.validation.judgement import POSITION as ROW

if TYPE_CHECKING:
    import duckdb

REASON, BROKEN = "quarantine_reason", "quarantine_broken"
"""The first reason as text, and all of them as a list of column, value and reason."""

FILE, POSITION = "quarantine_file", "quarantine_position"
"""Where the row stands: the digest of its segment's file, and its position there, counted from 0."""

_OWN = (REASON, BROKEN, FILE, POSITION)
_EXTRA, _AT = "__extra", "__at"


def store_quarantined(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, rows: str, segment: Segment, *, table: str
) -> Artifact:
    """Store the rows of a segment that a temporary table lists with what they break.

    Parameters
    ----------
    rows : str
        The segment, as :func:`base.validation.judgement.select_segment` writes it.
    table : str
        As :func:`base.validation.judgement.list_broken` has made it.
    """
    return _store(connection, artifacts, _select(connection, rows, f"FROM {table}", segment), order=POSITION)


def add_quarantined(
    connection: duckdb.DuckDBPyConnection,
    artifacts: ArtifactStore,
    rows: str,
    segment: Segment,
    stored: Artifact | None,
    found: Mapping[int, Sequence[tuple[str | None, str | None, str]]],
) -> Artifact:
    """Store a segment's quarantined rows anew, with what was found at some more of its positions.

    Parameters
    ----------
    found : mapping of position to list of (column, value, reason)
    """
    import pyarrow as pa

    entries = [[{"column": c, "value": v, "reason": r} for c, v, r in broken] for broken in found.values()]
    kind = pa.list_(pa.struct([(name, pa.string()) for name in ("column", "value", "reason")]))
    table = pa.table({_AT: pa.array(list(found), pa.int64()), FOUND: pa.array(entries, kind)})
    connection.register(_EXTRA, table)
    fresh = _select(connection, rows, f"SELECT * FROM ({rows}) JOIN {_EXTRA} ON {ROW} = {_AT}", segment)
    if stored is not None:
        before = f"read_parquet({quote_text(artifacts.local_path(stored))})"
        both = f"list_concat({BROKEN}, coalesce({FOUND}, [])) AS {BROKEN}"
        fresh = (
            f"SELECT * EXCLUDE ({_AT}, {FOUND}) REPLACE ({both}) FROM {before} "
            f"LEFT JOIN {_EXTRA} ON {POSITION} = {_AT} "
            f"UNION ALL BY NAME SELECT * FROM ({fresh}) WHERE {POSITION} NOT IN (SELECT {POSITION} FROM {before})"
        )
    try:
        return _store(connection, artifacts, fresh, order=POSITION)
    finally:
        connection.unregister(_EXTRA)


def join_quarantined(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, parts: Sequence[Artifact]
) -> Artifact | None:
    """Store the quarantined rows of several segments as one file, in their order; a single part is that file."""
    if len(parts) < 2:
        return parts[0] if parts else None
    union = " UNION ALL BY NAME ".join(
        f"SELECT * FROM read_parquet({quote_text(artifacts.local_path(part))})" for part in parts
    )
    return _store(connection, artifacts, union, order=None)


def _select(connection: duckdb.DuckDBPyConnection, rows: str, found: str, segment: Segment) -> str:
    """Write the SELECT of a segment's columns and quarantine's own, which hide a source's of the same name."""
    present = [name for name, *_ in connection.execute(f"DESCRIBE {rows}").fetchall()]
    names = ", ".join(quote_name(name) for name in present if name.lower() not in (*_OWN, ROW))
    return (
        f"SELECT {names}, {FOUND}[1].reason AS {REASON}, {FOUND} AS {BROKEN}, "
        f"{quote_text(segment.artifact.digest)} AS {FILE}, {ROW} AS {POSITION} FROM ({found})"
    )


def _store(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, query: str, *, order: str | None
) -> Artifact:
    ordered = query if order is None else f"SELECT * FROM ({query}) ORDER BY {order}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "quarantined.parquet")
        connection.execute(f"COPY ({ordered}) TO {quote_text(file)} (FORMAT parquet, COMPRESSION zstd)")
        return artifacts.put_file(file)
