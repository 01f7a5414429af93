"""The end of model versions: which are old and unprotected, and the deletion of their files; their records stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from base.artifacts import Artifact
from base.errors import ArgumentError
from registry.ledger import Rule, append_decision
from registry.needed_files import YOUNG, delete_unneeded, find_needed, oldest_spared
from registry.store import Registry
from registry.tables import ModelVersion, StepExecution
from registry.version_protection import find_protected
from registry.versions import list_versions
from registry.webhooks import announce, delete_delivered


class VersionProtected(ArgumentError):
    """A version that must not be deleted."""

    def __init__(self, version: ModelVersion, reason: str) -> None:
        super().__init__(
            f"{version.model}@{version.number} cannot be deleted: it is {reason}; move the alias, or remove the tag, "
            "if it must go"
        )


@dataclass(frozen=True)
class VersionPolicy:
    """Versions are kept while they are among the newest *keep* of their model, or younger than *older_than*."""

    keep: int = 10
    older_than: timedelta = timedelta(days=90)

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ArgumentError(f"keep is {self.keep}, expected at least 1: a model without a version is none")


@dataclass(frozen=True)
class JudgedVersion:
    """A version with the reason why it is kept, or None."""

    model: str
    number: int
    run_id: str
    made: datetime
    kept_for: str | None


@dataclass(frozen=True)
class VersionsDeleted:
    """What was deleted, or would be: versions and files."""

    versions: tuple[JudgedVersion, ...]
    files: tuple[Artifact, ...]

    @property
    def deleted(self) -> tuple[JudgedVersion, ...]:
        """The versions that nothing keeps."""
        return tuple(version for version in self.versions if version.kept_for is None)

    @property
    def freed_bytes(self) -> int:
        """The size of all files that were deleted."""
        return sum(file.size_bytes for file in self.files)


def plan_version_retention(
    session: Session, policy: VersionPolicy, now: datetime, model: str | None = None
) -> tuple[JudgedVersion, ...]:
    """Judge every version of one model, or of all, that is not deleted yet, and change nothing; newest first."""
    protected = find_protected(session, model)
    places: dict[str, int] = {}
    judged = []
    for version in list_versions(session, model):
        if version.deleted_at is not None:
            continue
        place = places.setdefault(version.model, 0)
        places[version.model] += 1
        reason = protected.get((version.model, version.number))
        if reason is None and place < policy.keep:
            reason = f"among the newest {policy.keep} of its model"
        elif reason is None and now - version.created_at < policy.older_than:
            reason = "young"
        judged.append(_judged(version, reason))
    return tuple(judged)


def plan_deletion(session: Session, version: ModelVersion) -> tuple[JudgedVersion, ...]:
    """Judge one version that a person wants to be deleted.

    Raises
    ------
    VersionProtected
        If it must not be.
    """
    reason = find_protected(session, version.model).get((version.model, version.number))
    if reason is not None:
        raise VersionProtected(version, reason)
    return () if version.deleted_at is not None else (_judged(version, None),)


def preview_deletion(
    registry: Registry, plan: Callable[[Session], tuple[JudgedVersion, ...]], *, now: datetime, young: timedelta = YOUNG
) -> VersionsDeleted:
    """Tell what :func:`delete_versions` would delete, and delete nothing."""
    with registry.database.read() as session:
        versions = plan(session)
        runs = {version.run_id for version in versions if version.kept_for is None}
        needed = find_needed(session, deleted_versions=runs)
        files = [file for file in _files_of_deleted(session, runs) if file.digest not in needed]
        before = oldest_spared(session, now, young)
    old = [(file, registry.artifacts.touched(file)) for file in files]
    return VersionsDeleted(versions, tuple(file for file, touched in old if touched is not None and touched < before))


def delete_versions(
    registry: Registry,
    plan: Callable[[Session], tuple[JudgedVersion, ...]],
    *,
    rule: Rule,
    now: datetime,
    actor: str,
    reason: str,
    young: timedelta = YOUNG,
) -> VersionsDeleted:
    """Mark versions as deleted, with the ledger and the webhooks in one transaction, then delete their files.

    The plan is made anew in that transaction: who became champion meanwhile stays. Files that another version, a
    run, a view or a replayable decision needs stay, and so do those that are younger than *young*. A death after the
    marks leaves files that the next deletion finds, and `everfit data gc` as well.
    """
    with registry.database.write() as session:
        versions = plan(session)
        for judged in versions:
            if judged.kept_for is None:
                _mark(session, judged, rule=rule, now=now, actor=actor, reason=reason)
        delete_delivered(session, before=now - timedelta(days=30))
        files = _files_of_deleted(session, set())
        before = oldest_spared(session, now, young)
    deleted, _ = delete_unneeded(registry, [file for file in files if file in registry.artifacts], before=before)
    return VersionsDeleted(versions, tuple(deleted))


def _judged(version: ModelVersion, reason: str | None) -> JudgedVersion:
    return JudgedVersion(version.model, version.number, version.run_id, version.created_at, reason)


def _mark(session: Session, judged: JudgedVersion, *, rule: Rule, now: datetime, actor: str, reason: str) -> None:
    row = session.exec(select(ModelVersion).where(ModelVersion.run_id == judged.run_id)).one()
    row.deleted_at = now
    session.add(row)
    named = {"model": judged.model, "version": judged.number}
    append_decision(
        session,
        kind="deletion",
        pipeline=judged.model,
        run_id=judged.run_id,
        outcome=f"{judged.model}@{judged.number} deleted",
        reason=reason,
        actor=actor,
        evidence={"number": judged.number},
        rule=rule,
    )
    announce(session, "version.deleted", named | {"run": judged.run_id, "actor": actor, "reason": reason})


def _files_of_deleted(session: Session, doomed: set[str]) -> list[Artifact]:
    """Find the files that deleted versions, and those of the *doomed* runs, and the steps of their runs name."""
    gone = col(ModelVersion.deleted_at).is_not(None) | col(ModelVersion.run_id).in_(doomed)
    versions = list(session.exec(select(ModelVersion).where(gone)))
    runs = [version.run_id for version in versions]
    steps = session.exec(select(StepExecution.output).where(col(StepExecution.run_id).in_(runs)))
    found: dict[str, Artifact] = {}
    for document in (*(version.manifest for version in versions), *steps):
        found.update({file.digest: file for file in find_artifacts(document)})
    return list(found.values())


def find_artifacts(document: Any) -> list[Artifact]:
    """Find every file that a document names, in the order in which it does.

    Examples
    --------
    >>> find_artifacts({"model": {"digest": "ab", "size_bytes": 3, "suffix": ".skops"}, "seed": 1})
    [Artifact(digest='ab', size_bytes=3, suffix='.skops')]
    """
    return [file for _, file in name_artifacts(document)]


def name_artifacts(document: Any, name: str = "") -> list[tuple[str, Artifact]]:
    """Find every file that a document names, each with the path of keys that leads to it."""
    if isinstance(document, dict):
        if document.keys() == {"digest", "size_bytes", "suffix"}:
            return [(name, Artifact.model_validate(document))]
        items = [(str(key), value) for key, value in document.items()]
    elif isinstance(document, list | tuple):
        items = [(str(index), value) for index, value in enumerate(document)]
    else:
        return []
    return [found for key, value in items for found in name_artifacts(value, f"{name}.{key}" if name else key)]
