"""`everfit promote` and `everfit rollback`: which version is champion, decided by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.errors import ArgumentError
from console.installation import open_registry, read_environment, read_settings

if TYPE_CHECKING:
    from sqlmodel import Session

    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from registry.tables import Alias, ModelVersion


def promote_command(
    version: str, *, environment: str | None, expected: int | None, reason: str, output: Output
) -> None:
    """Make a version champion of an environment; the ledger keeps who did it and why.

    The version is loaded first where it never was here. The look at the champion and the swap are one transaction, so
    of people who promote at once each replaces what the one before has set; with *expected*, only the first of them
    does.

    Raises
    ------
    ArgumentError
        If there is no reason or no such version, or another one than *expected* is champion.
    VersionNotServable
        If it is not what was signed, a file is gone or changed, or it does not answer as it did in training.
    """
    told = _read_reason(reason)
    settings = read_settings()
    place = read_environment(settings, environment)
    if "@" not in version:
        raise ArgumentError(
            f"{version!r} names no version; write {version}@7, or {version}@staging for what is champion in staging"
        )
    from console.promotion_checks import check_loading, find_objections
    from registry.models import CHAMPION, promote_version, resolve_present

    registry = open_registry(settings)
    with registry.database.read() as session:
        found = resolve_present(session, registry.environment, version)
        # Twice: what takes a while is not begun for nothing, and not trusted when it is done.
        _find_champion(session, found, place, expected)
        objections = find_objections(session, found)
    check_loading(registry, settings, found, place, output)
    with registry.database.write() as session:
        current = _find_champion(session, found, place, expected)
        previous = None if current is None else current.number
        alias = promote_version(
            session,
            place,
            found,
            expected_revision=0 if current is None else current.revision,
            actor=name_person(),
            reason=told,
        )
    for objection in objections:
        output.warn(objection)
    was = "there was none" if previous is None else f"was {previous}"
    output.say(f"{found.model}@{CHAMPION} is version {alias.number} now ({was}), environment {place}")
    _finish(registry, settings, alias, previous, told, output)


def rollback_command(
    model: str, *, to: int | None, reason: str, output: Output, environment: str | None = None
) -> None:
    """Give the champion alias back to the version before, or to version *to*; the ledger keeps the reason.

    Raises
    ------
    ArgumentError
        If there is no reason, model or version to go back to.
    VersionNotServable
        If that version is not what was signed, or a file of it is gone.
    """
    told = _read_reason(reason)
    settings = read_settings()
    place = read_environment(settings, environment)
    from console.promotion_checks import check_return
    from registry.models import CHAMPION, find_alias, find_return, roll_back

    registry = open_registry(settings)
    with registry.database.read() as session:
        target = find_return(session, place, model, to=to)
    check_return(registry, settings, target, place, output)
    with registry.database.write() as session:
        before = find_alias(session, place, model)
        # The row is updated in place, so its number has to be taken before.
        previous = None if before is None else before.number
        alias = roll_back(session, place, model, actor=name_person(), reason=told, to=target.number)
    output.say(f"{model}@{CHAMPION} is version {alias.number} again (was {previous}), environment {place}")
    _finish(registry, settings, alias, previous, told, output)


def tell_receivers(registry: Registry, settings: Settings, output: Output) -> None:
    """Send the webhooks of what a command did, for at most a second; what is not taken is sent again later."""
    if not settings.webhooks:
        return
    from registry.webhook_delivery import deliver_soon
    from registry.webhooks import DELIVERED

    for sent in deliver_soon(registry.database, settings):
        if sent.status != DELIVERED:
            output.warn(
                f"webhook {sent.receiver!r} did not take {sent.event} ({sent.problem}); it is sent again by "
                "`everfit up`, `everfit serve` or the next command"
            )


def _find_champion(session: Session, version: ModelVersion, environment: str, expected: int | None) -> Alias | None:
    """Return the alias that is to be moved to a version, if it may be."""
    from registry.models import CHAMPION, find_alias

    current = find_alias(session, environment, version.model)
    previous = None if current is None else current.number
    if expected is not None and expected != (previous or 0):
        raise ArgumentError(
            f"{version.model}@{CHAMPION} in {environment} is {_name(previous)}, expected {_name(expected or None)}: "
            f"somebody has moved it; `everfit history {version.model}` tells who and why"
        )
    if previous == version.number:
        raise ArgumentError(f"version {version.number} is the champion of {version.model!r} in {environment} already")
    return current


def _finish(
    registry: Registry, settings: Settings, alias: Alias, previous: int | None, reason: str, output: Output
) -> None:
    output.say("A running prediction service follows by itself; the decision and its reason are in the ledger.")
    document: dict[str, Any] = {
        "model": alias.model,
        "alias": alias.alias,
        "environment": alias.environment,
        "version": alias.number,
        "previous": previous,
        "revision": alias.revision,
        "reason": reason,
    }
    output.result(document)
    tell_receivers(registry, settings, output)


def _read_reason(reason: str) -> str:
    if not reason.strip():
        raise ArgumentError("--reason is empty; say in a few words why, for whoever reads the ledger later")
    return reason.strip()


def _name(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
