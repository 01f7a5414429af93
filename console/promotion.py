"""`everfit promote` and `everfit rollback`: which version is champion, decided by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.errors import ArgumentError
from console.installation import open_registry, read_environment, read_settings

if TYPE_CHECKING:
    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from registry.tables import Alias


def promote_command(
    version: str, *, environment: str | None, expected: int | None, reason: str, output: Output
) -> None:
    """Make a version champion of an environment; the ledger keeps who did it and why.

    The look at the champion and the swap are one transaction, so of people who promote at once each replaces what
    the one before has set; with *expected*, only the first of them does.

    Raises
    ------
    ArgumentError
        If there is no reason or no such version, or another one than *expected* is champion.
    """
    told = _read_reason(reason)
    settings = read_settings()
    place = read_environment(settings, environment)
    if "@" not in version:
        raise ArgumentError(
            f"{version!r} names no version; write {version}@7, or {version}@staging for what is champion in staging"
        )
    from registry.models import CHAMPION, find_alias, promote_version, resolve_present

    registry = open_registry(settings)
    with registry.database.write() as session:
        found = resolve_present(session, registry.environment, version)
        current = find_alias(session, place, found.model)
        previous = None if current is None else current.number
        if expected is not None and expected != (previous or 0):
            raise ArgumentError(
                f"{found.model}@{CHAMPION} in {place} is {_name(previous)}, expected {_name(expected or None)}: "
                f"somebody has moved it; `everfit history {found.model}` tells who and why"
            )
        if previous == found.number:
            raise ArgumentError(f"version {found.number} is the champion of {found.model!r} in {place} already")
        alias = promote_version(
            session,
            place,
            found,
            expected_revision=0 if current is None else current.revision,
            actor=name_person(),
            reason=told,
        )
        outcome = found.verdict.get("outcome")
        was_for_it = found.verdict.get("promote", True)
    if not was_for_it:
        why = str(found.verdict.get("reason", "")).removeprefix(f"{outcome}: ")
        output.warn(f"the gate had said {outcome!r} of version {alias.number}: {why}")
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
    """
    told = _read_reason(reason)
    settings = read_settings()
    place = read_environment(settings, environment)
    from registry.models import CHAMPION, find_alias, roll_back

    registry = open_registry(settings)
    with registry.database.write() as session:
        before = find_alias(session, place, model)
        # The row is updated in place, so its number has to be taken before.
        previous = None if before is None else before.number
        alias = roll_back(session, place, model, actor=name_person(), reason=told, to=to)
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
