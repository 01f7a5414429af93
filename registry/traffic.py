"""Segments of the prediction log in the artifact store: recorded once, found by their range, removed with a record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import or_
from sqlmodel import Session, col, select

from base.artifacts import Artifact
from registry.tables import TrafficSegment, TrafficWriter

# Databases limit how many values one question may name.
_NAMES_AT_ONCE = 500


def record_segment(session: Session, segment: TrafficSegment) -> bool:
    """Record a segment that lies in the store; False where it is recorded already, and nothing was changed."""
    if session.get(TrafficSegment, segment.id) is not None:
        return False
    session.add(segment)
    session.flush()
    return True


def list_moved(
    session: Session,
    model: str | None = None,
    kind: str | None = None,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    with_removed: bool = False,
) -> list[TrafficSegment]:
    """List the segments that may hold event times of [start, stop), oldest first, without opening any."""
    query = select(TrafficSegment).order_by(col(TrafficSegment.first_event_time), col(TrafficSegment.id))
    if model is not None:
        query = query.where(TrafficSegment.model == model)
    if kind is not None:
        query = query.where(TrafficSegment.kind == kind)
    if not with_removed:
        query = query.where(col(TrafficSegment.removed_at).is_(None))
    first, last = col(TrafficSegment.first_event_time), col(TrafficSegment.last_event_time)
    if start is not None:
        query = query.where(or_(last.is_(None), last >= start))
    if stop is not None:
        query = query.where(or_(first.is_(None), first < stop))
    return list(session.exec(query))


def find_recorded(session: Session, names: Collection[str]) -> set[str]:
    """Find which of some segments are recorded, whether they were removed since or not."""
    listed, found = sorted(names), set[str]()
    for start in range(0, len(listed), _NAMES_AT_ONCE):
        part = listed[start : start + _NAMES_AT_ONCE]
        found.update(session.exec(select(TrafficSegment.id).where(col(TrafficSegment.id).in_(part))))
    return found


def artifact_of(segment: TrafficSegment) -> Artifact:
    """The file of a segment that was not removed."""
    return Artifact.model_validate(segment.artifact)


def mark_removed(session: Session, segments: Iterable[TrafficSegment], *, now: datetime) -> list[Artifact]:
    """Record that segments are no more, and return the files that may go."""
    files = []
    for segment in segments:
        files.append(artifact_of(segment))
        segment.removed_at, segment.artifact = now, {}
        session.add(segment)
    return files


def record_writer(session: Session, document: Mapping[str, Any]) -> None:
    """Keep a writer's accounts as its file holds them, unless newer ones are kept."""
    writer = document["writer"]
    written = datetime.fromisoformat(document["written_at"])
    kept = session.get(TrafficWriter, writer["name"])
    if kept is None:
        kept = TrafficWriter(
            name=writer["name"],
            host=writer["host"],
            pid=writer["pid"],
            started_at=datetime.fromisoformat(writer["started_at"]),
        )
    elif kept.written_at >= written:
        return
    kept.written_at, kept.closed, kept.totals = written, document["closed"], dict(document["models"])
    session.add(kept)


def list_writers(session: Session) -> list[TrafficWriter]:
    """List the writers whose accounts were copied here, oldest first."""
    return list(session.exec(select(TrafficWriter).order_by(col(TrafficWriter.started_at), col(TrafficWriter.name))))


def list_traffic_models(session: Session) -> list[str]:
    """List the models of which segments are recorded."""
    return sorted(session.exec(select(TrafficSegment.model).distinct()))
