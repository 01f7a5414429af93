"""Aliases: which version is champion in which environment; promote, roll back, history."""

from __future__ import annotations

from sqlalchemy import update
from sqlmodel import Session, col, select

from base.documents import as_text
from base.errors import ArgumentError, EverfitError
from base.fingerprint import digest_document
from base.times import utc_now
from registry.ledger import Rule, append_decision
from registry.tables import Alias, AliasMove, ModelVersion
from registry.versions import VersionDeleted, VersionNotFound, check_model, find_version, list_versions
from registry.webhooks import announce

CHAMPION = "champion"
ROLLBACK = "rollback"
ENVIRONMENTS = ("dev", "staging", "prod")
"""In the order in which a version goes through them."""

# An alias moves from the revision that its mover has seen, or not at all.
_COMPARE_AND_SWAP = Rule("compare and swap")


class AliasMoved(EverfitError):
    """Somebody else moved the alias between the judgement and the promotion."""

    def __init__(self, name: str, expected: int, found: int) -> None:
        super().__init__(
            f"alias {name!r} was moved meanwhile: expected revision {expected}, found {found}; "
            "run again, and the challenger is judged against the new champion (finished steps are reused)"
        )
        self.expected = expected
        self.found = found


def find_alias(session: Session, environment: str, model: str, alias: str = CHAMPION) -> Alias | None:
    """Return where an alias stands, or None when it was never set."""
    return session.get(Alias, (environment, model, alias))


def list_aliases(session: Session, model: str | None = None) -> list[Alias]:
    """List where the aliases of one model, or of all, stand in every environment."""
    query = select(Alias).order_by(col(Alias.model), col(Alias.environment), col(Alias.alias))
    return list(session.exec(query if model is None else query.where(Alias.model == model)))


def resolve_version(session: Session, environment: str, name: str) -> ModelVersion:
    """Return the version that ``model``, ``model@7``, ``model@champion`` or ``model@staging`` means.

    An alias is looked up in *environment*; the name of an environment means the champion there. A deleted version is
    found too: its record stays.

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
        place, sought = (which, CHAMPION) if which in ENVIRONMENTS else (environment, which)
        alias = find_alias(session, place, model, sought)
        number = None if alias is None else alias.number
    version = None if number is None else find_version(session, model, number)
    if version is not None:
        return version
    check_model(session, model)
    numbers = ", ".join(str(version.number) for version in list_versions(session, model))
    if which.isdecimal():
        missing = f"version {which}"
    else:
        missing = f"{sought!r} in environment {place!r}"
    raise VersionNotFound(f"model {model!r} has no {missing}; its versions are {numbers}")


def resolve_present(session: Session, environment: str, name: str) -> ModelVersion:
    """Return the version that a name means, as :func:`resolve_version` does, if its files are there.

    Raises
    ------
    VersionNotFound, VersionDeleted
        If there is none of that name, or it was deleted.
    """
    version = resolve_version(session, environment, name)
    if version.deleted_at is not None:
        raise VersionDeleted(version)
    return version


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
    VersionDeleted
        If the version's files are gone.
    """
    current = find_alias(session, environment, version.model, alias)
    if run_id is not None and current is not None and _moved_by(session, run_id, environment, version.model, alias):
        return current
    # Read anew: the caller may have found it before another process deleted it.
    stored = find_version(session, version.model, version.number)
    if stored is not None and stored.deleted_at is not None:
        raise VersionDeleted(stored)
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
    if alias == CHAMPION:
        from registry.rollouts import stop_overtaken  # which builds upon this module

        stop_overtaken(session, environment, version.model, version.number, actor=actor, now=now)
    append_decision(
        session,
        kind=kind,
        pipeline=version.model,
        run_id=run_id,
        outcome=f"{name} = {version.number}",
        reason=reason,
        actor=actor,
        evidence={"environment": environment, "number": version.number, "previous": previous},
        rule=_COMPARE_AND_SWAP,
        inputs={"expected_revision": expected_revision, "manifest": digest_document(version.manifest)},
    )
    announce(
        session,
        "alias.moved",
        {
            "model": version.model,
            "alias": alias,
            "environment": environment,
            "version": version.number,
            "previous": previous,
            "revision": expected_revision + 1,
            "kind": kind,
            "actor": actor,
            "reason": reason,
            "run": run_id,
        },
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
    VersionNotFound, VersionDeleted, ArgumentError
        As :func:`find_return` does.
    """
    version = find_return(session, environment, model, to=to)
    current = find_alias(session, environment, model)
    return promote_version(
        session,
        environment,
        version,
        expected_revision=0 if current is None else current.revision,
        actor=actor,
        reason=reason,
        kind=ROLLBACK,
    )


def find_return(session: Session, environment: str, model: str, *, to: int | None = None) -> ModelVersion:
    """Return the version that a rollback goes back to.

    Raises
    ------
    VersionNotFound, VersionDeleted, ArgumentError
        If there is no champion, no earlier one, no version *to*, or that one never was or is the champion.
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
    if version.deleted_at is not None:
        raise VersionDeleted(version)
    return version


def previous_champion(session: Session, environment: str, model: str) -> int | None:
    """Return the version that a rollback without a number goes back to, or None.

    A promotion puts a champion on top of the ones before; a rollback takes off every one above the version that
    it goes to, or the one on top when that version is not among them. A version that was deleted is passed over.
    """
    champions: list[int] = []
    for move in reversed(alias_history(session, environment, model)):
        if move.kind == ROLLBACK and move.number not in champions:
            champions.pop()
        while move.kind == ROLLBACK and move.number in champions and champions[-1] != move.number:
            champions.pop()
        if champions[-1:] != [move.number]:
            champions.append(move.number)
    for number in reversed(champions[:-1]):
        version = find_version(session, model, number)
        if number != champions[-1] and version is not None and version.deleted_at is None:
            return number
    return None


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
