"""Model versions: registered with gapless numbers, found, and never forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from base.errors import ArgumentError, nearest
from registry.tables import ModelVersion
from registry.webhooks import announce

# The largest integer of a column; a larger number is no version, and the drivers raise on it.
_LARGEST_NUMBER = 2**31 - 1


class VersionNotFound(ArgumentError):
    """A model, version or alias that the registry does not hold."""


class VersionDeleted(ArgumentError):
    """A version whose files are gone; its record stays."""

    def __init__(self, version: ModelVersion) -> None:
        super().__init__(
            f"{version.model}@{version.number} was deleted on {version.deleted_at:%Y-%m-%d}; its record stays "
            f"(`everfit show {version.model}@{version.number}`), its files are gone; `everfit versions "
            f"{version.model}` lists those that are there"
        )


@dataclass(frozen=True)
class NewVersion:
    """What is recorded of a model at its registration."""

    model: str
    run_id: str
    pipeline_version: str
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    verdict: dict[str, Any]


def register_version(session: Session, new: NewVersion) -> ModelVersion:
    """Register a model; the same run again gets the version that it already has.

    Numbers have no gaps: inside :meth:`base.database.Database.write` nobody else takes one.
    """
    found = session.exec(select(ModelVersion).where(ModelVersion.run_id == new.run_id)).first()
    if found is not None:
        return found
    last = session.exec(select(func.max(ModelVersion.number)).where(ModelVersion.model == new.model)).one()
    version = ModelVersion(
        model=new.model,
        number=(last or 0) + 1,
        run_id=new.run_id,
        pipeline_version=new.pipeline_version,
        manifest=new.manifest,
        metrics=new.metrics,
        verdict=new.verdict,
    )
    session.add(version)
    session.flush()
    named = {"model": new.model, "version": version.number, "run": new.run_id}
    announce(session, "version.registered", named | {"metrics": version.metrics})
    if version.verdict:
        judged = {name: version.verdict.get(name) for name in ("outcome", "promote", "reason", "champion_version")}
        announce(session, "verdict.given", named | judged)
    return version


def find_version(session: Session, model: str, number: int) -> ModelVersion | None:
    """Return a version by its number, also a deleted one."""
    if not 0 < number <= _LARGEST_NUMBER:
        return None
    return session.exec(select(ModelVersion).where(ModelVersion.model == model, ModelVersion.number == number)).first()


def list_models(session: Session) -> list[str]:
    """List the names of all models."""
    return list(session.exec(select(ModelVersion.model).distinct().order_by(col(ModelVersion.model))))


def list_versions(session: Session, model: str | None = None) -> list[ModelVersion]:
    """List versions, newest first, deleted ones too."""
    query = select(ModelVersion).order_by(col(ModelVersion.id).desc())
    return list(session.exec(query if model is None else query.where(ModelVersion.model == model)))


def check_model(session: Session, model: str) -> None:
    """Refuse a model that nobody registered.

    Raises
    ------
    VersionNotFound
        Naming what there is instead.
    """
    known = list_models(session)
    if model not in known:
        raise VersionNotFound(
            f"there is no model {model!r}; registered are {', '.join(known) or 'none'}{nearest(model, known)}"
        )
