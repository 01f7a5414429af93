"""When the log was last written to, told without reading it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func
from sqlmodel import Session, col, select

from base.times import as_utc
from registry.tables import TrafficSegment
from serving.log.segments import GROWING, SEALED, segment_folder


def find_last_write(session: Session, home: Path, model: str, kind: str) -> datetime | None:
    """Return when rows of one kind (``predictions``, ``labels``) last came in here or on another host; None: never.

    Segments of other hosts are known once they are moved to the artifact store.
    """
    moved = session.exec(
        select(func.max(TrafficSegment.moved_at)).where(
            col(TrafficSegment.model) == model, col(TrafficSegment.kind) == kind
        )
    ).one()
    moments = [] if moved is None else [as_utc(moved)]
    folder = segment_folder(home, model, kind)
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.suffix in (GROWING, SEALED):
            moments.append(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    return max(moments, default=None)
