"""How a snapshot grows out of the one before: by new files, or by the rows above a watermark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from base.artifacts import ArtifactStore
from base.contract import ColumnType
from base.documents import as_document
from base.extract_spec import IncrementalSpec
from base.pipeline import Pipeline
from base.references import Rows, Segment, Snapshot
from base.rows.increments import Changes, apply_changes, check_key, find_changes
from base.sources.cuts import Cut, Watermark
from base.sources.files import FileStates, SourceFile, check_unchanged
from base.sources.joining import Side, join_sides
from base.sources.reading import Content, Site, name_source, read_rows, split_files
from base.sources.retries import SourceChanged
from base.times import as_utc
from tasks.found_sources import Found, read_sides
from tasks.row_shaping import (
    choose_rows,
    content_types,
    count_rows,
    largest_value,
    read_schema,
    shape_rows,
    store_content,
)

_NULL_TYPES: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Earlier:
    """A snapshot of the same source, and how far the source had been read for it."""

    snapshot: Snapshot
    state: dict[str, Any]


@dataclass(frozen=True)
class Extraction:
    """What was extracted, and what the source needs to go on from there.

    *whole* is the snapshot that the next one grows from; *snapshot*, which the run sees, may hide its newest rows.
    """

    snapshot: Snapshot
    whole: Snapshot
    state: dict[str, Any]
    counts: dict[str, int]
    how: str


def grow_snapshot(
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    site: Site,
    found: Found,
    *,
    earlier: Earlier | None,
    latest: datetime | None,
    into: Path,
) -> Extraction:
    """Extract what is new since an earlier snapshot where the source allows it, else everything up to *latest*.

    Raises
    ------
    DataRefused
        If a key stands twice, or a watermark is neither a moment nor a whole number.
    """
    spec = pipeline.spec.extract
    sides, digests = read_sides(spec, site, into, found)
    plan = _Plan(pipeline, artifacts, site, found, sides, digests, latest, into)
    if earlier is None:
        return plan.read_everything("the first time")
    if digests != earlier.state.get("sides", {}):
        moved = [name for name in digests if digests[name] != earlier.state.get("sides", {}).get(name)]
        return plan.read_everything(f"afresh: source {', '.join(moved)} changed, whose columns all rows carry")
    if spec.incremental is not None:
        return plan.read_above_watermark(earlier, spec.incremental)
    if found.states is not None:
        return plan.read_new_files(earlier, found.states)
    return plan.read_everything("all of it: nothing says what is new")


@dataclass(frozen=True)
class _Plan:
    pipeline: Pipeline
    artifacts: ArtifactStore
    site: Site
    found: Found
    sides: list[Side]
    digests: dict[str, str]
    latest: datetime | None
    into: Path

    def read_everything(self, how: str) -> Extraction:
        incremental = self.pipeline.spec.extract.incremental
        files = self.found.main
        groups = [files] if files is None else split_files(files, self.site)
        contents = [self._read(group, None, f"part-{number}") for number, group in enumerate(groups)]
        n_rows = sum(map(count_rows, contents))
        watermark = None
        if incremental is not None and n_rows:
            if incremental.key:
                check_key(contents, incremental.key, f"source {self._name!r}")
            found = [largest_value(content, incremental.watermark) for content in contents]
            watermark = max((value for value in found if value is not None), default=None)
        segments = tuple(self._store(content) for content in contents)
        snapshot = _snapshot(Rows(segments=segments, time=self.pipeline.spec.time), content_types(contents[0]), None)
        return self._extraction(snapshot, watermark, {"read": n_rows, "new": n_rows}, how)

    def read_above_watermark(self, earlier: Earlier, incremental: IncrementalSpec) -> Extraction:
        last = _read_watermark(earlier.state.get("watermark"))
        if last is None:
            return self.read_everything("afresh: no row had a watermark before")
        if isinstance(last, int) and incremental.lateness:
            return self.read_everything("afresh: a lateness needs moments, and the watermark is a whole number")
        cut = Cut(incremental.watermark, last - incremental.lateness if isinstance(last, datetime) else last)
        content = self._read(self.found.main, cut)
        if not count_rows(content):
            return self._extraction(earlier.snapshot, last, {"read": 0, "new": 0}, "nothing new")
        fitted = _fit(content, earlier.snapshot.columns)
        if fitted is None:
            return self.read_everything("afresh: the source's columns changed")
        largest = largest_value(fitted, incremental.watermark)
        if largest is not None and type(largest) is not type(last):
            return self.read_everything("afresh: the watermark is of another type")
        changes = find_changes(self.artifacts, earlier.snapshot.rows, fitted, cut=cut, last=last, key=incremental.key)
        counts = {
            "read": changes.n_read,
            "new": changes.n_new,
            "late": changes.n_late,
            "corrected": changes.n_corrected,
            "removed": changes.n_removed,
        }
        watermark = last if largest is None else max(last, largest)
        if changes.is_empty:
            return self._extraction(earlier.snapshot, watermark, counts, "nothing new")
        return self._extraction(self._grow(earlier.snapshot, fitted, changes), watermark, counts, "what is new")

    def read_new_files(self, earlier: Earlier, states: FileStates) -> Extraction:
        before: FileStates = earlier.state.get("files") or {}
        changed = [name for name in before if name in states and states[name]["digest"] != before[name]["digest"]]
        gone = [name for name in before if name not in states]
        if changed or gone or not before:
            why = f"{(changed or gone)[0]!r} {'changed' if changed else 'is gone'}" if before else "no file is known"
            return self.read_everything(f"afresh: {why}")
        new = [file for file in self.found.main or [] if file.name not in before]
        if not new:
            return self._extraction(earlier.snapshot, None, {"read": 0, "new": 0}, "nothing new")
        content = self._read(new, None)
        fitted = _fit(content, earlier.snapshot.columns)
        if fitted is None:
            return self.read_everything("afresh: a new file has other columns")
        n_rows = count_rows(fitted)
        if not n_rows:
            return self._extraction(earlier.snapshot, None, {"read": 0, "new": 0}, "nothing new")
        segment = self._store(fitted)
        rows = Rows(segments=(*earlier.snapshot.rows.segments, segment), time=self.pipeline.spec.time)
        snapshot = _snapshot(rows, _merge(earlier.snapshot.columns, content_types(fitted)), earlier.snapshot.digest)
        return self._extraction(snapshot, None, {"read": n_rows, "new": n_rows}, f"{len(new)} new files")

    def _read(self, files: list[SourceFile] | None, cut: Cut | None, name: str = "rows") -> Content:
        into = self.into / name
        into.mkdir(exist_ok=True)
        content = read_rows(self.pipeline.spec.extract.main_source, self.site, into, files=files, cut=cut)
        if self.sides and count_rows(content):
            content, _ = join_sides(content, self.sides, into)
        shaped = shape_rows(content, self.pipeline, into, latest=self.latest)
        check_unchanged(self._name, files or [])
        return shaped

    def _store(self, content: Content) -> Segment:
        segment = store_content(self.artifacts, content, self.pipeline.spec.time)
        if isinstance(content, Path) and not content.is_relative_to(self.into):
            # It was taken byte for byte; that it did not change meanwhile is told by its digest.
            known = {state["digest"] for state in (self.found.states or {}).values()}
            if segment.artifact.digest not in known:
                raise SourceChanged(self._name, content.name)
        return segment

    def _grow(self, before: Snapshot, content: Content, changes: Changes) -> Snapshot:
        segment = None
        if len(changes.added):
            chosen = choose_rows(content, changes.added, self.into)
            segment = self._store(chosen)
        rows = apply_changes(self.artifacts, before.rows, changes, segment)
        return _snapshot(rows, _merge(before.columns, content_types(content)), before.digest)

    def _extraction(
        self, snapshot: Snapshot, watermark: Watermark | None, counts: dict[str, int], how: str
    ) -> Extraction:
        state = {
            "files": self.found.states,
            "sides": self.digests,
            "watermark": watermark,
            "counts": counts,
            "how": how,
        }
        return Extraction(snapshot, snapshot, as_document(state), counts, how)

    @property
    def _name(self) -> str:
        return name_source(self.pipeline.spec.extract.main_source)


def _snapshot(rows: Rows, columns: dict[str, ColumnType], parent: str | None) -> Snapshot:
    firsts = [segment.first for segment in rows.segments if segment.first is not None]
    lasts = [segment.last for segment in rows.segments if segment.last is not None]
    return Snapshot(
        rows=rows,
        columns=columns,
        first=min(firsts, default=None),
        watermark=max(lasts, default=None),
        parent=parent,
    )


def _fit(content: Content, columns: dict[str, ColumnType]) -> Content | None:
    """Write new rows in the types of the old ones; None where they have other columns, or types that do not meet."""
    found = content_types(content)
    if found.keys() != columns.keys():
        return None
    numbers = {"integer", "number"}
    odd = [name for name in found if found[name] != columns[name] and not {found[name], columns[name]} <= numbers]
    if not odd:
        return content
    if isinstance(content, Path) or any(content[name].null_count < content.num_rows for name in odd):
        return None
    # A column without any value has no type of its own.
    fields = [
        pa.field(item.name, _NULL_TYPES[columns[item.name]] if item.name in odd else item.type)
        for item in read_schema(content)
    ]
    return content.cast(pa.schema(fields))


def _merge(before: dict[str, ColumnType], now: dict[str, ColumnType]) -> dict[str, ColumnType]:
    return {name: kind if now[name] == kind else "number" for name, kind in before.items()}


def _read_watermark(value: object) -> Watermark | None:
    if isinstance(value, str):
        return as_utc(datetime.fromisoformat(value))
    return value if isinstance(value, int) else None
