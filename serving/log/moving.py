"""Moving sealed segments into the artifact store: stored, then recorded, then removed here; a death leaves a next time.

Before the record, a segment is local and counts here; after it, the stored file counts, whether the local one is gone
already or not. So each row is read exactly once at every moment, and two movers at once only do the same work twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from base.errors import EverfitError
from base.times import as_utc
from registry.store import Registry
from registry.tables import TrafficSegment
from registry.traffic import record_segment
from serving.log.kinds import KINDS, RANGE_COLUMNS
from serving.log.segments import GROWING, HEADER_KEY, SEALED

_log = logging.getLogger(__name__)


class SegmentUnreadable(EverfitError):
    """A sealed segment is no Parquet file of a segment."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"sealed segment {str(path)!r} cannot be read ({problem}), expected a Parquet file as Everfit seals them; "
            "restore it from a backup, or move it out of its folder, and its rows are reported as missing"
        )
        self.path = path


@dataclass(frozen=True)
class SealedFacts:
    """What a sealed segment's footer says, without its rows."""

    header: dict[str, Any]
    n_rows: int
    ranges: tuple[tuple[datetime | None, datetime | None], ...]


@dataclass(frozen=True)
class Moved:
    """What a round of moving did: segments and rows moved, and those that stay for the next round."""

    n_segments: int = 0
    n_rows: int = 0
    failures: tuple[str, ...] = ()


def move_segments(home: Path, registry: Registry) -> Moved:
    """Move every sealed segment of this machine; what fails stays, and is tried again by the next call."""
    n_segments, n_rows, failures = 0, 0, list[str]()
    for kind in KINDS:
        for path in _list_movable(home, kind):
            try:
                n_moved = move_segment(path, kind, registry)
            except FileNotFoundError:
                continue  # another mover was faster
            except Exception as error:
                failures.append(f"{path.name}: {type(error).__name__}: {error}")
                continue
            n_segments, n_rows = n_segments + 1, n_rows + n_moved
    return Moved(n_segments, n_rows, tuple(failures))


def move_segment(path: Path, kind: str, registry: Registry) -> int:
    """Move one sealed segment and return its number of rows; done twice, it changes nothing more.

    Raises
    ------
    SegmentUnreadable, ArtifactNotStored, DatabaseUnavailable, DatabaseBusy, FileNotFoundError
    """
    facts = read_sealed_facts(path, kind)
    artifact = registry.artifacts.put_file(path)
    (first_predicted, last_predicted), (first_event, last_event) = facts.ranges
    segment = TrafficSegment(
        id=path.stem,
        model=path.parent.parent.name,
        kind=kind,
        version=facts.header.get("version", 0),
        writer=facts.header.get("writer"),
        first_seq=facts.header.get("first"),
        n_rows=facts.n_rows,
        artifact=artifact.model_dump(mode="json"),
        size_bytes=artifact.size_bytes,
        first_predicted_at=first_predicted,
        last_predicted_at=last_predicted,
        first_event_time=first_event,
        last_event_time=last_event,
    )
    with registry.database.write() as session:
        record_segment(session, segment)
    path.unlink(missing_ok=True)
    return facts.n_rows


def read_sealed_facts(path: Path, kind: str) -> SealedFacts:
    """Read the footer of a sealed segment.

    Raises
    ------
    SegmentUnreadable, FileNotFoundError
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
        header = orjson.loads((metadata.metadata or {})[HEADER_KEY])
    except (pa.ArrowInvalid, KeyError, orjson.JSONDecodeError) as error:
        raise SegmentUnreadable(path, f"{type(error).__name__}: {error}") from error
    ranges = tuple(_range(metadata, name) for name in RANGE_COLUMNS[kind])
    return SealedFacts(header, metadata.num_rows, ranges)


def _range(metadata: Any, name: str) -> tuple[datetime | None, datetime | None]:
    names = metadata.schema.names
    if name not in names:
        return None, None
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    found = [group.column(names.index(name)).statistics for group in groups]
    if any(one is None or not one.has_min_max for one in found):
        return None, None
    return as_utc(min(one.min for one in found)), as_utc(max(one.max for one in found))


def _list_movable(home: Path, kind: str) -> Iterator[Path]:
    for path in sorted((home / "traffic").glob(f"*/{kind}/*{SEALED}")):
        # Its sealing is not over, or a crash has interrupted it: with the lines gone, the next round takes it.
        if not path.with_suffix(GROWING).exists():
            yield path
