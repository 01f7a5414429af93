"""How a snapshot grows out of the one before: by new files, or by the rows above a watermark."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from base.artifacts import ArtifactStore
from base.contract import ColumnType
from base.cores import map_on_cores
from base.documents import as_document
from base.extract_spec import IncrementalSpec
from base.pipeline import Pipeline
from base.references import Rows, Segment, Snapshot
from base.rows.compaction import compact_rows
from base.rows.increments import Changes, apply_changes, check_key, find_changes
from base.rows.segment_facts import Facts, gather_facts, read_facts
from base.sources.cuts import Cut, Watermark, read_watermark
from base.sources.files import FileStates, SourceFile, check_unchanged
from base.sources.joining import Side, join_sides
from base.sources.reading import Content, Site, find_ready, name_source, read_rows, split_files
from base.sources.retries import SourceChanged
from tasks.column_fit import fit_types, merge_types
from tasks.found_sources import Found, read_sides
from tasks.row_shaping import (
    choose_rows,
    content_types,
    count_rows,
    keep_in_file,
    largest_value,
    look_at_order,
    shape_rows,
    store_content,
)
from tasks.watermarks import check_lateness

_SEGMENTS = "segments"


@dataclass(frozen=True)
class Earlier:
    """A snapshot of the same source, and how far the source had been read for it."""

    snapshot: Snapshot
    state: dict[str, Any]

    @property
    def facts(self) -> Facts:
        """What is known of the snapshot's segments without opening them."""
        return read_facts(self.state.get(_SEGMENTS) or {})


@dataclass(frozen=True)
class Extraction:
    """What was extracted, and what the source needs to go on from there.

    *whole* is the snapshot that the next one grows from; *snapshot*, which the run sees, may hide its newest rows.
    *compacted* is the one that *whole* grew from, where many small segments of the earlier one were merged for it.
    """

    snapshot: Snapshot
    whole: Snapshot
    state: dict[str, Any]
    counts: dict[str, int]
    how: str
    compacted: Earlier | None = None


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
    unmatched: Counter[str] = field(default_factory=Counter)

    def read_everything(self, how: str) -> Extraction:
        incremental = self.pipeline.spec.extract.incremental
        files = self.found.main
        self.unmatched.clear()
        groups = None if files is None else split_files(files, self.site)
        contents = [self._read(None, None)] if groups is None else self._read_groups(groups)
        n_rows = sum(map(count_rows, contents))
        watermark = None
        if incremental is not None and n_rows:
            if incremental.key:
                check_key(contents, incremental.key, f"source {self._name!r}")
            found = [largest_value(content, incremental.watermark) for content in contents]
            watermark = max((value for value in found if value is not None), default=None)
            check_lateness(self.pipeline, watermark)
        segments = tuple(map_on_cores(self._store, contents))
        rows = Rows(segments=segments, time=self.pipeline.spec.time)
        snapshot = self._snapshot(rows, content_types(contents[0]), None)
        return self._extraction(snapshot, watermark, {"read": n_rows, "new": n_rows}, how)

    def read_above_watermark(self, earlier: Earlier, incremental: IncrementalSpec) -> Extraction:
        last = read_watermark(earlier.state.get("watermark"))
        if last is None:
            return self.read_everything("afresh: no row had a watermark before")
        check_lateness(self.pipeline, last)
        cut = Cut(incremental.watermark, last - incremental.lateness if isinstance(last, datetime) else last)
        content = self._read(self.found.main, cut)
        if not count_rows(content):
            return self._extraction(earlier.snapshot, last, {"read": 0, "new": 0}, "nothing new", earlier.facts)
        fitted = fit_types(content, earlier.snapshot.columns)
        if fitted is None:
            return self.read_everything("afresh: the source's columns changed")
        largest = largest_value(fitted, incremental.watermark)
        if largest is not None and type(largest) is not type(last):
            return self.read_everything("afresh: the watermark is of another type")
        before, facts = earlier.snapshot.rows, earlier.facts
        changes = find_changes(self.artifacts, before, fitted, cut=cut, last=last, key=incremental.key, facts=facts)
        counts = {
            "read": changes.n_read,
            "new": changes.n_new,
            "late": changes.n_late,
            "corrected": changes.n_corrected,
            "removed": changes.n_removed,
        }
        watermark = last if largest is None else max(last, largest)
        if changes.is_empty:
            return self._extraction(earlier.snapshot, watermark, counts, "nothing new", facts)
        compacted = self._compact(earlier)
        if compacted is not None:
            before, facts = compacted.snapshot.rows, compacted.facts
            changes = find_changes(self.artifacts, before, fitted, cut=cut, last=last, key=incremental.key, facts=facts)
        grown = self._grow((compacted or earlier).snapshot, fitted, changes)
        extraction = self._extraction(grown, watermark, counts, "what is new", facts)
        return replace(extraction, compacted=compacted)

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
        fitted = fit_types(content, earlier.snapshot.columns)
        if fitted is None:
            return self.read_everything("afresh: a new file has other columns")
        n_rows = count_rows(fitted)
        if not n_rows:
            return self._extraction(earlier.snapshot, None, {"read": 0, "new": 0}, "nothing new")
        compacted = self._compact(earlier)
        parent = (compacted or earlier).snapshot
        rows = Rows(segments=(*parent.rows.segments, self._store(fitted)), time=self.pipeline.spec.time)
        snapshot = self._snapshot(rows, merge_types(parent.columns, content_types(fitted)), parent.digest)
        extraction = self._extraction(snapshot, None, {"read": n_rows, "new": n_rows}, f"{len(new)} new files")
        return replace(extraction, compacted=compacted)

    def _compact(self, earlier: Earlier) -> Earlier | None:
        """Merge small segments of an earlier snapshot, before it grows; None where it has few of them.

        It becomes a snapshot of its own, between the earlier one and what grows out of it, so that what is new
        stays apart from what was only merged.
        """
        rows = compact_rows(self.artifacts, earlier.snapshot.rows)
        if rows == earlier.snapshot.rows:
            return None
        snapshot = earlier.snapshot.model_copy(update={"rows": rows, "parent": earlier.snapshot.digest})
        return Earlier(snapshot, {**earlier.state, **self._facts(snapshot, earlier.facts)})

    def _read(self, files: list[SourceFile] | None, cut: Cut | None, name: str = "rows") -> Content:
        into = self.into / name
        into.mkdir(exist_ok=True)
        content = read_rows(self.pipeline.spec.extract.main_source, self.site, into, files=files, cut=cut)
        if self.sides and count_rows(content):
            content, unmatched = join_sides(content, self.sides, into)
            self.unmatched.update(unmatched)
        return self._shape(content, into, files)

    def _read_groups(self, groups: list[list[SourceFile]]) -> list[Content]:
        """Read groups of files that become a segment each; of several, none stays in memory."""
        if len(groups) == 1:
            return [self._read(groups[0], None)]
        files, paths = [file for (file,) in groups], [Path(file.address) for (file,) in groups]
        ready = set() if self.sides else find_ready(files, paths, self.site)
        look_at_order([path for path in paths if path in ready], self.pipeline.spec.time)
        contents = []
        for number, (file, path) in enumerate(zip(files, paths, strict=True)):
            name = f"part-{number}"
            (self.into / name).mkdir()
            if path in ready:
                contents.append(self._shape(path, self.into / name, [file]))
            else:
                contents.append(keep_in_file(self._read([file], None, name), self.into / name))
        return contents

    def _shape(self, content: Content, into: Path, files: list[SourceFile] | None) -> Content:
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
        return self._snapshot(rows, merge_types(before.columns, content_types(content)), before.digest)

    def _snapshot(self, rows: Rows, columns: dict[str, ColumnType], parent: str | None) -> Snapshot:
        firsts = [segment.first for segment in rows.segments if segment.first is not None]
        lasts = [segment.last for segment in rows.segments if segment.last is not None]
        return Snapshot(
            rows=rows,
            columns=columns,
            first=min(firsts, default=None),
            watermark=max(lasts, default=None),
            parent=parent,
            unmatched={name: count for name, count in self.unmatched.items() if count},
        )

    def _extraction(
        self,
        snapshot: Snapshot,
        watermark: Watermark | None,
        counts: dict[str, int],
        how: str,
        known: Facts = MappingProxyType({}),
    ) -> Extraction:
        missed = {f"without a row in {name!r}": count for name, count in self.unmatched.items() if count}
        counts = counts | missed
        state: dict[str, Any] = {
            "files": self.found.states,
            "sides": self.digests,
            "watermark": watermark,
            "counts": counts,
            "how": how,
        }
        return Extraction(snapshot, snapshot, as_document({**state, **self._facts(snapshot, known)}), counts, how)

    def _facts(self, snapshot: Snapshot, known: Facts) -> dict[str, Any]:
        incremental = self.pipeline.spec.extract.incremental
        if incremental is None:
            return {}
        column, key = incremental.watermark, incremental.key
        facts = gather_facts(self.artifacts, snapshot.rows, known, watermark=column, key=key)
        return {_SEGMENTS: {digest: one.model_dump(mode="json") for digest, one in facts.items()}}

    @property
    def _name(self) -> str:
        return name_source(self.pipeline.spec.extract.main_source)
