"""The bodies of `everfit hooks`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.hook_secrets import add_sender, list_senders, remove_sender, rotate_sender
from base.times import utc_now
from console.installation import is_registry_new, open_registry, read_settings
from console.tokens import read_duration

if TYPE_CHECKING:
    from sqlmodel import Session

    from base.settings import Settings
    from console.output import Output


def add_command(name: str, *, pipelines: Sequence[str], output: Output) -> None:
    """Let a sender ask for trainings; that may be set up before there is any pipeline."""
    settings = read_settings()
    with _recording(settings) as session:
        from registry.pipelines import list_pipelines

        known = list_pipelines(session)
        secret = add_sender(settings, name, pipelines=tuple(pipelines), now=utc_now())
        _record(session, name, "added", reason="a sender of hooks was added", pipelines=pipelines)
    for pipeline in pipelines:
        if pipeline not in known:
            output.warn(f"there is no pipeline {pipeline!r} yet; registered are {', '.join(known) or 'none'}")
    which = ", ".join(sorted(set(pipelines))) or "any pipeline"
    output.say(f"Sender {name!r} may ask for trainings of {which}. It signs with this secret, shown this once:")
    output.say(secret)
    output.result({"name": name, "pipelines": sorted(set(pipelines)) or None, "secret": secret})


def list_command(*, output: Output) -> None:
    """List the senders of the settings or of the home folder, without their secrets."""
    settings = read_settings()
    now = utc_now()
    documents: list[dict[str, Any]]
    if settings.hooks is not None:
        documents = [
            {
                "name": name,
                "pipelines": list(one.pipelines) or None,
                "secrets": len(one.keys),
                "set_in": "EVERFIT_HOOKS",
            }
            for name, one in settings.hooks.items()
        ]
    else:
        documents = [
            {
                "name": name,
                "pipelines": list(one.pipelines) or None,
                "secrets": len(one.live(now)),
                "set_in": "hooks.json",
                "made_at": one.secrets[0].made_at.isoformat(),
                "former_until": next((each.until.isoformat() for each in one.live(now) if each.until), None),
            }
            for name, one in list_senders(settings).items()
        ]
    if documents:
        output.table(
            ["sender", "pipelines", "secrets", "newest made (UTC)", "former good until", "from"],
            [
                [
                    one["name"],
                    ", ".join(one["pipelines"] or ["any"]),
                    one["secrets"],
                    _show(one.get("made_at")),
                    _show(one.get("former_until")),
                    one["set_in"],
                ]
                for one in documents
            ],
        )
    else:
        output.say("Nobody may send signed hooks; `everfit hooks add NAME` lets a sender.")
    output.result({"senders": documents})


def rotate_command(name: str, *, overlap: str, output: Output) -> None:
    """Give a sender a new secret."""
    length = read_duration("--overlap", overlap, least=timedelta(0))
    settings = read_settings()
    now = utc_now()
    with _recording(settings) as session:
        secret = rotate_sender(settings, name, overlap=length, now=now)
        until = f"{now + length:%Y-%m-%d %H:%M} UTC"
        _record(session, name, "rotated", reason=f"the secret before is good until {until}")
    output.say(f"The secret before is good for {overlap} more. The new one, shown this once:")
    output.say(secret)
    output.result({"name": name, "secret": secret, "former_until": (now + length).isoformat()})


def remove_command(name: str, *, reason: str, output: Output) -> None:
    """End a sender."""
    settings = read_settings()
    with _recording(settings) as session:
        removed = remove_sender(settings, name)
        _record(session, name, "removed", reason=reason, pipelines=removed.pipelines)
    output.say(f"Sender {name!r} is removed; running services refuse what it signs from now on.")
    output.result({"name": name, "pipelines": list(removed.pipelines) or None})


@contextmanager
def _recording(settings: Settings) -> Iterator[Session]:
    """Give a writing session for the ledger; the file is changed within it, so that what failed is not told."""
    from registry.store import open_registry as make_registry

    registry = make_registry(settings) if is_registry_new(settings) else open_registry(settings)
    try:
        with registry.database.write() as session:
            yield session
    finally:
        registry.database.close()


def _record(session: Session, name: str, outcome: str, *, reason: str, pipelines: Sequence[str] = ()) -> None:
    from registry.ledger import append_decision

    append_decision(
        session,
        kind="hook",
        # As with a token: it may be for many pipelines, and outlives them.
        pipeline="",
        outcome=f"{name}: {outcome}",
        reason=reason,
        actor=name_person(),
        evidence={"sender": name, "pipelines": sorted(set(pipelines)) or None},
    )


def _show(moment: str | None) -> str:
    return "" if moment is None else moment[:16].replace("T", " ")
