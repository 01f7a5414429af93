"""Retention: which snapshots and files nothing needs any more, and their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from base.artifacts import Artifact
from base.errors import ArgumentError
from registry.ledger import Rule, append_decision
from registry.models import find_version, list_models, list_versions
from registry.needed_files import YOUNG, delete_unneeded, find_needed, oldest_spared
from registry.runs import RUNNING
from registry.snapshots import list_snapshots, read_snapshot
from registry.store import Registry
from registry.tables import ModelVersion, Run, SnapshotRow
from registry.version_protection import find_protected


@dataclass(frozen=True)
class RetentionPolicy:
    """What is kept, beside all that an alias or a run under way needs.

    Of each pipeline the newest *keep* snapshots and runs, of each model the newest *keep* versions with their
    data, and whatever is younger than *older_than*.
    """

    keep: int = 5
    older_than: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ArgumentError(
                f"keep is {self.keep}, expected at least 1: the newest snapshot is what a run grows from"
            )


@dataclass(frozen=True)
class JudgedSnapshot:
    """A snapshot with the reason why it is kept, or None."""

    id: int | None
    pipeline: str
    digest: str
    made: datetime
    n_rows: int
    kept_for: str | None


@dataclass(frozen=True)
class RetentionPlan:
    """What is to end: snapshots, and the runs whose prepared data and pages do."""

    snapshots: tuple[JudgedSnapshot, ...]
    forgotten_runs: frozenset[str]

    @property
    def deleted(self) -> tuple[JudgedSnapshot, ...]:
        """The snapshots that nothing keeps."""
        return tuple(snapshot for snapshot in self.snapshots if snapshot.kept_for is None)


@dataclass(frozen=True)
class Collected:
    """What a collection deleted, or would delete."""

    plan: RetentionPlan
    files: tuple[Artifact, ...]
    unfinished_bytes: int
    n_left: int
    left_bytes: int

    @property
    def freed_bytes(self) -> int:
        """The size of all that was deleted."""
        return sum(file.size_bytes for file in self.files) + self.unfinished_bytes


def plan_retention(session: Session, policy: RetentionPolicy, now: datetime) -> RetentionPlan:
    """Judge every snapshot and run, and change nothing.

    A snapshot is kept for the first of these reasons: a kept model version was made from it, its pipeline is being
    trained, it is among the newest, it is young, or others need all of its files, so that its end would free nothing.
    """
    versions = _kept_versions(session, policy)
    under_way = {run.pipeline: run.id for run in session.exec(select(Run).where(Run.status == RUNNING))}
    rows = [row for row in list_snapshots(session) if row.deleted_at is None]
    reasons = {row.id: _reason(row, versions, under_way) for row in rows}
    for place, row in _places_within_pipeline(rows):
        if reasons[row.id] is None and place < policy.keep:
            reasons[row.id] = f"among the newest {policy.keep} of its pipeline"
        elif reasons[row.id] is None and now - row.created_at < policy.older_than:
            reasons[row.id] = "young"
    forgotten = _forgotten_runs(session, policy, versions, now)
    doomed = {row.id for row in rows if reasons[row.id] is None}
    needed = find_needed(session, forgotten_runs=forgotten, without=doomed)
    for row in rows:
        if row.id in doomed and _files_of(row) <= needed:
            reasons[row.id] = "others need all of its files"
    judged = tuple(
        JudgedSnapshot(row.id, row.pipeline, row.digest, row.created_at, row.n_rows, reasons[row.id]) for row in rows
    )
    return RetentionPlan(judged, forgotten)


def collect_garbage(
    registry: Registry,
    policy: RetentionPolicy,
    *,
    now: datetime,
    actor: str,
    young: timedelta = YOUNG,
    advance: Callable[[str], None] = lambda _step: None,
) -> Collected:
    """Mark the snapshots that nothing keeps as deleted, then delete the files that nothing needs.

    The marks, and a decision in the ledger, come first, in one transaction. Files follow in short ones, each after
    a fresh look at what is needed: so a run that begins meanwhile keeps what it takes up, and a death at any point
    leaves files that the next collection finds.
    """
    with registry.database.write() as session:
        plan = plan_retention(session, policy, now)
        _mark_deleted(session, plan, policy, now=now, actor=actor)
        before = oldest_spared(session, now, young)
    advance(f"{len(plan.deleted)} snapshots marked")
    files = list(registry.artifacts.list_files())
    deleted, left = delete_unneeded(registry, files, before=before, forgotten_runs=plan.forgotten_runs, advance=advance)
    unfinished = registry.artifacts.delete_unfinished(before=before)
    return _collected(plan, deleted, unfinished, left)


def preview_garbage(
    registry: Registry, policy: RetentionPolicy, *, now: datetime, young: timedelta = YOUNG
) -> Collected:
    """Tell what :func:`collect_garbage` would delete, and delete nothing."""
    with registry.database.read() as session:
        plan = plan_retention(session, policy, now)
        doomed = {snapshot.id for snapshot in plan.deleted}
        needed = find_needed(session, forgotten_runs=plan.forgotten_runs, without=doomed)
        before = oldest_spared(session, now, young)
    deleted: list[Artifact] = []
    left: list[Artifact] = []
    for file in registry.artifacts.list_files():
        touched = None if file.digest in needed else registry.artifacts.touched(file)
        (left if touched is None or touched >= before else deleted).append(file)
    return _collected(plan, deleted, 0, left)


def _kept_versions(session: Session, policy: RetentionPolicy) -> dict[str, tuple[ModelVersion, str]]:
    """Find the versions whose data are kept, by run, with the reason."""
    kept: dict[str, tuple[ModelVersion, str]] = {}

    def keep(model: str, number: int | None, reason: str) -> None:
        version = None if number is None else find_version(session, model, number)
        if version is not None:
            kept.setdefault(version.run_id, (version, f"{model}@{version.number}, {reason}"))

    for (model, number), reason in find_protected(session).items():
        keep(model, number, reason)
    for model in list_models(session):
        present = [version for version in list_versions(session, model) if version.deleted_at is None]
        for version in present[: policy.keep]:
            keep(model, version.number, f"among its newest {policy.keep} versions")
    return kept


def _reason(row: SnapshotRow, versions: dict[str, tuple[ModelVersion, str]], under_way: dict[str, str]) -> str | None:
    for version, reason in versions.values():
        if version.model == row.pipeline and version.manifest.get("snapshot") == row.digest:
            return reason
    run = under_way.get(row.pipeline)
    return None if run is None else f"run {run} is under way"


def _places_within_pipeline(rows: list[SnapshotRow]) -> Iterator[tuple[int, SnapshotRow]]:
    places: dict[str, int] = {}
    for row in rows:
        place = places.setdefault(row.pipeline, 0)
        places[row.pipeline] += 1
        yield place, row


def _forgotten_runs(
    session: Session, policy: RetentionPolicy, versions: dict[str, tuple[ModelVersion, str]], now: datetime
) -> frozenset[str]:
    places: dict[str, int] = {}
    forgotten = set()
    for run in session.exec(select(Run).order_by(col(Run.started_at).desc())):
        place = places.setdefault(run.pipeline, 0)
        places[run.pipeline] += 1
        is_old = place >= policy.keep and now - run.started_at >= policy.older_than
        if is_old and run.status != RUNNING and run.id not in versions:
            forgotten.add(run.id)
    return frozenset(forgotten)


def _files_of(row: SnapshotRow) -> set[str]:
    segments = read_snapshot(row).rows.segments
    return {file.digest for segment in segments for file in (segment.artifact, *segment.dropped)}


def _mark_deleted(session: Session, plan: RetentionPlan, policy: RetentionPolicy, *, now: datetime, actor: str) -> None:
    doomed = {snapshot.id for snapshot in plan.deleted}
    for row in list_snapshots(session):
        if row.id in doomed:
            row.deleted_at = now
            session.add(row)
    for pipeline in sorted({snapshot.pipeline for snapshot in plan.deleted}):
        digests = sorted(snapshot.digest for snapshot in plan.deleted if snapshot.pipeline == pipeline)
        append_decision(
            session,
            kind="data",
            pipeline=pipeline,
            outcome=f"{len(digests)} snapshots deleted",
            reason=f"no kept version needs them (keep {policy.keep}, older than {policy.older_than.days} days)",
            actor=actor,
            evidence={"snapshots": digests},
            rule=Rule("retention", 1, {"keep": policy.keep, "older_than_days": policy.older_than.days}),
            inputs={"snapshots": digests},
        )


def _collected(plan: RetentionPlan, deleted: list[Artifact], unfinished: int, left: list[Artifact]) -> Collected:
    return Collected(plan, tuple(deleted), unfinished, len(left), sum(file.size_bytes for file in left))
