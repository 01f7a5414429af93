"""What is known of a segment without opening it, so that an increment opens only what it may change."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from base.artifacts import Artifact, ArtifactStore
from base.references import Rows, Segment
from base.rows.duck import open_duckdb, quote_name, quote_text
from base.rows.reading import POSITION, SEGMENT, select_segment_rows, without_dropped
from base.sources.cuts import Cut

if TYPE_CHECKING:
    import duckdb

Facts = Mapping[str, "SegmentFacts"]
"""Of some segments, by the digest of their file; the others are opened."""

_HASH = "hash"


class SegmentFacts(BaseModel):
    """What one segment's file holds in the columns of the watermark and of the key.

    Attributes
    ----------
    last : datetime or int, optional
        The largest watermark; None: no row has one.
    n_missing : int
        Rows without a watermark.
    least, most : datetime or int, optional
        The ends of the key's first column where it holds moments or whole numbers.
    hashes : Artifact, optional
        A file with the hash of each row's key, 8 bytes a row in the rows' order, as *hashed_by* makes it.
    """

    model_config = ConfigDict(frozen=True)

    watermark: str
    key: tuple[str, ...] = ()
    last: int | datetime | None = None
    n_missing: int = 0
    least: int | datetime | None = None
    most: int | datetime | None = None
    hashes: Artifact | None = None
    hashed_by: str = ""


def look_at_segment(
    connection: duckdb.DuckDBPyConnection,
    artifacts: ArtifactStore,
    segment: Segment,
    *,
    watermark: str,
    key: Sequence[str],
) -> SegmentFacts:
    """Read the columns of the watermark and the key of one segment."""
    rows = f"read_parquet({quote_text(artifacts.local_path(segment.artifact))})"
    column = quote_name(watermark)
    kinds = _kinds(connection, rows)
    ends = "NULL, NULL"
    if key and kinds.get(key[0]) in ("BIGINT", "TIMESTAMP WITH TIME ZONE"):
        ends = f"min({quote_name(key[0])}), max({quote_name(key[0])})"
    found: list[Any] = connection.execute(
        f"SELECT max({column}), count(*) - count({column}), {ends} FROM {rows}"
    ).fetchall()
    last, n_missing, least, most = found[0]
    hashes = _store_hashes(connection, artifacts, rows, key) if key else None
    return SegmentFacts(
        watermark=watermark,
        key=tuple(key),
        last=last,
        n_missing=n_missing,
        least=least,
        most=most,
        hashes=hashes,
        hashed_by=_hashed_by(kinds, key),
    )


def gather_facts(
    artifacts: ArtifactStore, rows: Rows, known: Facts, *, watermark: str, key: Sequence[str]
) -> dict[str, SegmentFacts]:
    """Return the facts of all segments, looking only at those that are not known yet."""
    found = {}
    for segment in rows.segments:
        before = known.get(segment.artifact.digest)
        if before is not None and (before.watermark, before.key) == (watermark, tuple(key)):
            found[segment.artifact.digest] = before
    new = [segment for segment in rows.segments if segment.artifact.digest not in found]
    if new:
        with open_duckdb() as connection:
            for segment in new:
                facts = look_at_segment(connection, artifacts, segment, watermark=watermark, key=key)
                found[segment.artifact.digest] = facts
    return found


def read_facts(document: Mapping[str, Any]) -> dict[str, SegmentFacts]:
    """Read facts from their document; what another version of Everfit wrote and this one cannot read is left out."""
    found = {}
    for digest, facts in document.items():
        with suppress(ValidationError):
            found[digest] = SegmentFacts.model_validate(facts)
    return found


def find_places(
    connection: duckdb.DuckDBPyConnection,
    artifacts: ArtifactStore,
    before: Rows,
    facts: Facts,
    *,
    cut: Cut,
    key: Sequence[str],
) -> dict[int, list[int]]:
    """Find where stored rows may be superseded by those of the view ``fresh``: positions by segment.

    These are the rows above the cut or without a watermark, and those with the key of a fresh row; of the latter,
    a few others whose keys have the same hash. A segment whose facts rule it out is not opened, nor verified.
    """
    column = quote_name(cut.column)
    fresh_kinds = _kinds(connection, "fresh")
    hashed_by = _hashed_by(fresh_kinds, key)
    least, most = _ends(connection, key, fresh_kinds)
    parts = []
    for index, segment in enumerate(before.segments):
        known = facts.get(segment.artifact.digest)
        if known is not None and (known.watermark != cut.column or known.key != tuple(key)):
            known = None
        if known is None or _reaches_above(known, cut):
            missing = f" OR {column} IS NULL" if known is None or known.n_missing else ""
            rows = select_segment_rows(artifacts, segment, index)
            parts.append(f"SELECT {SEGMENT}, {POSITION} FROM ({rows}) WHERE {column} > $cut{missing}")
        if not key or (known is not None and _is_apart(known, least, most)):
            continue
        if (
            known is not None
            and known.hashes is not None
            and known.hashes in artifacts
            and known.hashed_by == hashed_by
        ):
            stored = (
                f"SELECT * FROM read_parquet({quote_text(artifacts.local_path(known.hashes))}, file_row_number = true)"
            )
            rows = without_dropped(artifacts, segment, index, stored)
            parts.append(
                f"SELECT {SEGMENT}, {POSITION} FROM ({rows}) WHERE {_HASH} IN (SELECT {_hash(key)} FROM fresh)"
            )
        else:
            on = " AND ".join(f"h.{quote_name(name)} = f.{quote_name(name)}" for name in key)
            rows = select_segment_rows(artifacts, segment, index)
            parts.append(f"SELECT h.{SEGMENT}, h.{POSITION} FROM ({rows}) h SEMI JOIN fresh f ON {on}")
    places: dict[int, list[int]] = {}
    if parts:
        parameters = {"cut": cut.value} if any("$cut" in part for part in parts) else {}
        union = " UNION ".join(parts)
        for segment_index, position in connection.execute(f"{union} ORDER BY ALL", parameters).fetchall():
            places.setdefault(segment_index, []).append(position)
    return places


def _reaches_above(known: SegmentFacts, cut: Cut) -> bool:
    last, value = known.last, cut.value
    if not known.n_missing:
        if isinstance(last, datetime) and isinstance(value, datetime):
            return last > value
        if isinstance(last, int) and isinstance(value, int):
            return last > value
    # A segment of which this is not known is looked at.
    return True


def _is_apart(known: SegmentFacts, least: Any, most: Any) -> bool:
    ends: tuple[Any, Any] = (known.least, known.most)
    if None in (*ends, least, most) or type(ends[0]) is not type(least):
        return False
    return bool(most < ends[0] or least > ends[1])


def _ends(connection: duckdb.DuckDBPyConnection, key: Sequence[str], kinds: Mapping[str, str]) -> tuple[Any, Any]:
    if not key or kinds.get(key[0]) not in ("BIGINT", "TIMESTAMP WITH TIME ZONE"):
        return None, None
    found: list[Any] = connection.execute(
        f"SELECT min({quote_name(key[0])}), max({quote_name(key[0])}) FROM fresh"
    ).fetchall()
    return found[0]  # type: ignore[no-any-return]


def _store_hashes(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, rows: str, key: Sequence[str]
) -> Artifact:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "hashes.parquet")
        # Hashes do not get smaller by compression.
        connection.execute(
            f"COPY (SELECT {_hash(key)} AS {_HASH} FROM {rows}) TO {quote_text(file)} "
            "(FORMAT parquet, COMPRESSION uncompressed)"
        )
        return artifacts.put_file(file)


def _hash(key: Sequence[str]) -> str:
    present = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in key)
    return f"CASE WHEN {present} THEN hash({', '.join(map(quote_name, key))}) END"


def _hashed_by(kinds: Mapping[str, str], key: Sequence[str]) -> str:
    """Name what a hash depends on beside the values: their types, and DuckDB, whose versions may hash differently."""
    import duckdb

    return " ".join([f"duckdb-{duckdb.__version__}", *(kinds.get(name, "?") for name in key)])


def _kinds(connection: duckdb.DuckDBPyConnection, rows: str) -> dict[str, str]:
    return {name: str(kind) for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
