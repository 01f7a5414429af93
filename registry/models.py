"""Model versions and their aliases: register, resolve, promote, roll back, history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from base.documents import as_text
from base.errors import ArgumentError, EverfitError, nearest
from base.times import utc_now
from registry.ledger import append_decision
from registry.tables import Alias, AliasMove, ModelVersion

CHAMPION = "champion"
ROLLBACK = "rollback"
# The largest integer of a column; a larger number is no version, and the drivers raise on it.
_LARGEST_NUMBER = 2**31 - 1


class VersionNotFound(ArgumentError):
    """A model, version or alias that the registry does not hold."""


class AliasMoved(EverfitError):
    """Somebody else moved the alias between the judgement and the promotion."""

    def __init__(self, name: str, expected: int, found: int) -> None:
        super().__init__(
            f"alias {name!r} was moved meanwhile: expected revision {expected}, found {found}; "
            "run again, and the challenger is judged against the new champion (finished steps are reused)"
        )
        self.expected = expected
        self.found = found


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
    return version


def find_alias(session: Session, environment: str, model: str, alias: str = CHAMPION) -> Alias | None:
    """Return where an alias stands, or None when it was never set."""
    return session.get(Alias, (environment, model, alias))


def resolve_version(session: Session, environment: str, name: str) -> ModelVersion:
    """Return the version that ``model``, ``model@7`` or ``model@champion`` means.

    Raises
    ------
    VersionNotFound
        Naming what there is instead.
    """
    model, _, which = name.partition("@")
    which = which or CHAMPION
    number: int | None
    if which.isdecimal():
        number = int(which)
    else:
        alias = find_alias(session, environment, model, which)
        number = None if alias is None else alias.number
    version = None if number is None else find_version(session, model, number)
    if version is not None:
        return version
    known = list_models(session)
    if model not in known:
        raise VersionNotFound(
            f"there is no model {model!r}; registered are {', '.join(known) or 'none'}{nearest(model, known)}"
        )
    numbers = ", ".join(str(version.number) for version in list_versions(session, model))
    missing = f"version {which}" if which.isdecimal() else f"{which!r} in environment {environment!r}"
    raise VersionNotFound(f"model {model!r} has no {missing}; its versions are {numbers}")


def find_version(session: Session, model: str, number: int) -> ModelVersion | None:
    """Return a version by its number."""
    if not 0 < number <= _LARGEST_NUMBER:
        return None
    return session.exec(select(ModelVersion).where(ModelVersion.model == model, ModelVersion.number == number)).first()


def list_models(session: Session) -> list[str]:
    """List the names of all models."""
    return list(session.exec(select(ModelVersion.model).distinct().order_by(col(ModelVersion.model))))


def list_versions(session: Session, model: str | None = None) -> list[ModelVersion]:
    """List versions, newest first."""
    query = select(ModelVersion).order_by(col(ModelVersion.id).desc())
    return list(session.exec(query if model is None else query.where(ModelVersion.model == model)))


def promote_version(
    session: Session,
    environment: str,
    version: ModelVersion,
    *,
    expected_revision: int,
    actor: str,
    reason: str,
    run_id: str | None = None,
    alias: str = CHAMPION,
    kind: str = "promotion",
) -> Alias:
    """Move an alias by compare-and-swap, with its history and the ledger, in the caller's transaction.

    A run that has moved the alias already, and died before it could say so, moves nothing the second time.

    Raises
    ------
    AliasMoved
        If the alias is not at *expected_revision* (0: never set).
    """
    current = find_alias(session, environment, version.model, alias)
    if run_id is not None and current is not None and _moved_by(session, run_id, environment, version.model, alias):
        return current
    found = 0 if current is None else current.revision
    name = f"{version.model}@{alias}"
    if found != expected_revision:
        raise AliasMoved(name, expected_revision, found)
    now = utc_now()
    if current is None:
        current = Alias(
            environment=environment, model=version.model, alias=alias, number=version.number, revision=1, moved_at=now
        )
        session.add(current)
        previous = None
    else:
        previous = current.number
        swapped = session.connection().execute(
            update(Alias)
            .where(
                col(Alias.environment) == environment,
                col(Alias.model) == version.model,
                col(Alias.alias) == alias,
                col(Alias.revision) == expected_revision,
            )
            .values(number=version.number, revision=expected_revision + 1, moved_at=now)
        )
        if swapped.rowcount != 1:
            raise AliasMoved(name, expected_revision, expected_revision + 1)
        session.refresh(current)
    session.add(
        AliasMove(
            environment=environment,
            model=version.model,
            alias=alias,
            revision=expected_revision + 1,
            number=version.number,
            previous=previous,
            kind=kind,
            actor=as_text(actor),
            reason=as_text(reason),
            run_id=run_id,
            moved_at=now,
        )
    )
    append_decision(
        session,
        kind=kind,
        pipeline=version.model,
        run_id=run_id,
        outcome=f"{name} = {version.number}",
        reason=reason,
        actor=actor,
        evidence={"environment": environment, "number": version.number, "previous": previous},
    )
    return current


def roll_back(
    session: Session, environment: str, model: str, *, actor: str, reason: str, to: int | None = None
) -> Alias:
    """Give the champion alias back to the version that had it before, or to version *to*.

    Rolling back twice goes back two champions, not forward again: versions that were rolled back from since
    are passed over.

    Raises
    ------
    VersionNotFound
        If there is no champion, no earlier one, or no version *to*.
    """
    current = find_alias(session, environment, model)
    if current is None:
        raise VersionNotFound(f"model {model!r} has no champion in environment {environment!r} to roll back from")
    number = previous_champion(session, environment, model) if to is None else to
    if number is None:
        raise VersionNotFound(
            f"version {current.number} is the first champion of {model!r}; there is none to go back to"
        )
    version = find_version(session, model, number)
    if version is None:
        raise VersionNotFound(f"model {model!r} has no version {number}")
    if number not in {move.number for move in alias_history(session, environment, model)}:
        raise ArgumentError(
            f"version {number} of {model!r} was never champion in environment {environment!r}, so there is nothing "
            "to go back to; `everfit versions` shows which ones were"
        )
    if number == current.number:
        raise ArgumentError(f"version {number} is the champion of {model!r} already")
    return promote_version(
        session,
        environment,
        version,
        expected_revision=current.revision,
        actor=actor,
        reason=reason,
        kind=ROLLBACK,
    )


def previous_champion(session: Session, environment: str, model: str) -> int | None:
    """Return the version that a rollback without a number goes back to, or None.

    A promotion puts a champion on top of the ones before; a rollback takes off every one above the version that
    it goes to, or the one on top when that version is not among them.
    """
    champions: list[int] = []
    for move in reversed(alias_history(session, environment, model)):
        if move.kind == ROLLBACK and move.number not in champions:
            champions.pop()
        while move.kind == ROLLBACK and move.number in champions and champions[-1] != move.number:
            champions.pop()
        if champions[-1:] != [move.number]:
            champions.append(move.number)
    return champions[-2] if len(champions) > 1 else None


def alias_history(session: Session, environment: str, model: str, alias: str = CHAMPION) -> list[AliasMove]:
    """List the moves of an alias, newest first."""
    return list(
        session.exec(
            select(AliasMove)
            .where(AliasMove.environment == environment, AliasMove.model == model, AliasMove.alias == alias)
            .order_by(col(AliasMove.revision).desc())
        )
    )


def _moved_by(session: Session, run_id: str, environment: str, model: str, alias: str) -> bool:
    query = select(AliasMove).where(
        AliasMove.run_id == run_id,
        AliasMove.environment == environment,
        AliasMove.model == model,
        AliasMove.alias == alias,
    )
    return session.exec(query).first() is not None
