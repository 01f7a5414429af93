"""Streams of rows as they are found: which of a writer's numbered rows are where, and which are nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.store import Registry
from registry.tables import TrafficSegment
from registry.traffic import artifact_of, list_moved
from serving.log.kinds import KINDS
from serving.log.moving import SegmentUnreadable, read_sealed_facts
from serving.log.segments import SegmentDamaged, list_segments, read_lines, segment_folder

Place = Literal["growing", "sealed", "moved", "removed"]

_TRIES = 20


@dataclass(frozen=True)
class FoundSegment:
    """One segment with the rows counted in it; ``fault`` says what is wrong with it."""

    name: str
    kind: str
    place: Place
    version: int = 0
    writer: str | None = None
    first: int | None = None
    n_rows: int = 0
    fault: str | None = None


def find_segments(home: Path, model: str, registry: Registry | None) -> list[FoundSegment]:
    """Find all segments of a model, each once: here, moved, and removed; and count the rows of those that are here."""
    found: list[FoundSegment] = []
    for kind in KINDS:
        found += _find_kind(home, model, kind, registry)
    return found


def find_holes(segments: Iterable[FoundSegment]) -> Iterator[str]:
    """Tell which numbered rows of each stream are in no segment, or in two."""
    streams: dict[tuple[str, str, int], list[FoundSegment]] = {}
    for one in segments:
        if one.writer is not None and one.first is not None:
            streams.setdefault((one.writer, one.kind, one.version), []).append(one)
    for (writer, kind, version), stream in sorted(streams.items()):
        expected = 0
        for one in sorted(stream, key=lambda one: (one.first or 0, one.name)):
            first = one.first or 0
            if first > expected:
                yield (
                    f"rows {expected:,} to {first - 1:,} of the {kind} of version {version} by writer {writer} are in "
                    f"no segment; the next ones are in {one.name}"
                )
            elif first < expected:
                yield (
                    f"rows {first:,} to {expected - 1:,} of the {kind} of version {version} by writer {writer} are in "
                    f"{one.name} and in another segment"
                )
            expected = max(expected, first + one.n_rows)


def _find_kind(home: Path, model: str, kind: str, registry: Registry | None) -> list[FoundSegment]:
    folder = segment_folder(home, model, kind)
    for attempt in range(_TRIES):
        growing, sealed = list_segments(folder)
        recorded: list[TrafficSegment] = []
        if registry is not None:
            with registry.database.read() as session:
                recorded = list_moved(session, model, kind, with_removed=True)
        names = {one.id for one in recorded}
        try:
            here = [_count_lines(path, kind) for path in growing if path.stem not in names]
            here += [_count_sealed(path, kind) for path in sealed if path.stem not in names]
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise
            continue
        return [_look_up(one, registry) for one in recorded] + [one for one in here if one is not None]
    raise AssertionError("the loop returns or raises")


def _count_lines(path: Path, kind: str) -> FoundSegment | None:
    try:
        lines = read_lines(path)
    except SegmentDamaged as error:
        return FoundSegment(path.name, kind, "growing", fault=str(error))
    if lines is None:
        return None
    fault, first = None, lines.header.get("first")
    expected, n_rows = first, 0
    for batch in lines.batches:
        n_rows += batch["n"] if "n" in batch else len(batch.get("ids", ()) or batch.get("labels", ()))
        if expected is not None:
            if batch["seq"] != expected:
                fault = fault or f"in {path.name}, row {expected:,} is followed by row {batch['seq']:,}"
            expected = batch["seq"] + batch["n"]
    header = lines.header
    return FoundSegment(
        path.name, kind, "growing", header.get("version", 0), header.get("writer"), first, n_rows, fault
    )


def _count_sealed(path: Path, kind: str) -> FoundSegment:
    try:
        facts = read_sealed_facts(path, kind)
    except SegmentUnreadable as error:
        return FoundSegment(path.name, kind, "sealed", fault=str(error))
    header = facts.header
    return FoundSegment(
        path.name, kind, "sealed", header.get("version", 0), header.get("writer"), header.get("first"), facts.n_rows
    )


def _look_up(row: TrafficSegment, registry: Registry | None) -> FoundSegment:
    fault = None
    if row.removed_at is None and registry is not None:
        artifact = artifact_of(row)
        if artifact not in registry.artifacts:
            fault = (
                f"segment {row.id} ({row.n_rows:,} rows by writer {row.writer}) was moved, and its file "
                f"{artifact.key} is not in the store {registry.artifacts.url!r}; restore it from a backup"
            )
    place: Place = "moved" if row.removed_at is None else "removed"
    return FoundSegment(row.id, row.kind, place, row.version, row.writer, row.first_seq, row.n_rows, fault)
