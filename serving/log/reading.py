"""Read segments wherever they are: growing or sealed on this machine, or moved to the store by whatever machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from base.artifacts import ArtifactMissing
from registry.store import Registry
from registry.tables import TrafficSegment
from registry.traffic import artifact_of, find_recorded, list_moved
from serving.log.segments import list_segments, segment_folder

T = TypeVar("T")

# Each time a segment was sealed, moved or removed under the reader's eyes.
_TRIES = 20


def read_segments(
    home: Path,
    model: str,
    kind: str,
    *,
    read_sealed: Callable[[Path], T],
    read_growing: Callable[[Path], T],
    registry: Registry | None = None,
    start: datetime | None = None,
    stop: datetime | None = None,
    choose: Callable[[list[TrafficSegment]], list[TrafficSegment]] = list,
) -> list[T]:
    """Read all segments of a model, each exactly once, while others seal, move and remove them.

    Parameters
    ----------
    read_sealed, read_growing : callable
        Give what the Parquet file, or the lines, hold; both raise FileNotFoundError for a file that has gone.
    registry : Registry, optional
        Where moved segments are recorded; without it, only those on this machine are read.
    start, stop : datetime, optional
        Moved segments that have no event time within [start, stop) are not opened; the caller cuts the rows.
    choose : callable, optional
        Says which of those are opened; default: all.

    Raises
    ------
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
    """
    attempt = 0
    while True:
        attempt += 1
        growing, sealed = list_segments(segment_folder(home, model, kind))
        # After the files: what was moved before they were listed is recorded, and what is moved now is here or there.
        moved, recorded = _find_moved(registry, model, kind, [*growing, *sealed], start, stop)
        try:
            # The lines first: they are the first to go.
            lines = [read_growing(path) for path in growing if path.stem not in recorded]
            local = [read_sealed(path) for path in sealed if path.stem not in recorded]
            stored = [] if registry is None else [_read_moved(registry, one, read_sealed) for one in choose(moved)]
        except (FileNotFoundError, ArtifactMissing):
            if attempt == _TRIES or not _has_changed(registry, model, kind, home, growing, sealed, moved):
                raise
            continue
        return stored + local + lines


def _find_moved(
    registry: Registry | None,
    model: str,
    kind: str,
    files: list[Path],
    start: datetime | None,
    stop: datetime | None,
) -> tuple[list[TrafficSegment], set[str]]:
    if registry is None:
        return [], set()
    with registry.database.read() as session:
        moved = list_moved(session, model, kind, start=start, stop=stop)
        return moved, find_recorded(session, {path.stem for path in files})


def _read_moved(registry: Registry, segment: TrafficSegment, read_sealed: Callable[[Path], T]) -> T:
    return read_sealed(registry.artifacts.local_path(artifact_of(segment)))


def _has_changed(
    registry: Registry | None,
    model: str,
    kind: str,
    home: Path,
    growing: list[Path],
    sealed: list[Path],
    moved: list[TrafficSegment],
) -> bool:
    """Tell a file that went its way from one that is lost."""
    if list_segments(segment_folder(home, model, kind)) != (growing, sealed):
        return True
    if registry is None:
        return False
    with registry.database.read() as session:
        present = {one.id for one in list_moved(session, model, kind)}
    return not {one.id for one in moved} <= present
