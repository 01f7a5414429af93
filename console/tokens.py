"""The bodies of `everfit tokens`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.errors import ArgumentError
from base.times import parse_duration, utc_now
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from console.output import Output
    from registry.tables import AccessToken
    from registry.tokens import IssuedToken

# As it is typed: 90d. What a definition writes, '90 days', is read as well.
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHORT = re.compile(r"(\d+)\s*([smhdw])")


def create_command(
    name: str, *, roles: Sequence[str], models: Sequence[str] | None, expires: str | None, output: Output
) -> None:
    """Make a token; a service may be set up before anything was trained, so there need not be a registry yet."""
    from registry.models import list_models
    from registry.store import open_registry as make_registry
    from registry.tokens import create_token

    lifetime = None if expires is None else read_duration("--expires", expires, least=timedelta(seconds=1))
    registry = make_registry(read_settings())
    with registry.database.write() as session:
        known = list_models(session)
        issued = create_token(
            session, name, roles=roles, models=models or None, expires=lifetime, actor=name_person(), now=utc_now()
        )
    for model in models or ():
        if model not in known:
            output.warn(f"there is no model {model!r} yet; registered are {', '.join(known) or 'none'}")
    _show(issued, output)


def list_command(*, everything: bool, output: Output) -> None:
    """List the tokens that are good, or all that ever were."""
    settings = read_settings()
    rows: list[AccessToken] = []
    if not is_registry_new(settings):
        from registry.tokens import list_tokens

        with open_registry(settings).database.read() as session:
            rows = list_tokens(session)
    now = utc_now()
    documents = [_describe(row, now) for row in rows]
    documents = [document for document in documents if everything or document["status"] == "good"]
    if documents:
        output.table(
            ["name", "roles", "models", "status", "expires (UTC)", "last used", "id"],
            [
                [
                    document["name"],
                    ", ".join(document["roles"]),
                    ", ".join(document["models"] or ["all"]),
                    document["status"],
                    (document["expires_at"] or "never")[:16].replace("T", " "),
                    document["last_used_on"] or "never",
                    document["id"],
                ]
                for document in documents
            ],
        )
    else:
        output.say("No token is good; `everfit tokens create NAME --role predict` makes one.")
    output.result({"tokens": documents})


def rotate_command(name: str, *, overlap: str, output: Output) -> None:
    """Give a token a new secret."""
    from registry.tokens import rotate_token

    length = read_duration("--overlap", overlap, least=timedelta(0))
    with open_registry(read_settings()).database.write() as session:
        issued = rotate_token(session, name, overlap=length, actor=name_person(), now=utc_now())
    output.say(f"The secret before is good for {overlap} more.")
    _show(issued, output)


def revoke_command(name: str, *, reason: str, output: Output) -> None:
    """End a token."""
    from registry.tokens import revoke_token

    with open_registry(read_settings()).database.write() as session:
        revoked = revoke_token(session, name, actor=name_person(), reason=reason, now=utc_now())
    output.say(f"Token {name!r} is revoked; running services refuse it within two seconds.")
    output.result({"name": name, "revoked": [row.id for row in revoked]})


def _show(issued: IssuedToken, output: Output) -> None:
    document = _describe(issued.row, utc_now())
    output.say(f"Token {document['name']!r} for {', '.join(document['roles'])}, shown this once:")
    output.say(issued.secret)
    output.result(document | {"token": issued.secret})


def _describe(row: AccessToken, now: datetime) -> dict[str, Any]:
    from registry.tokens import status_of

    return {
        "name": row.name,
        "id": row.id,
        "generation": row.generation,
        "roles": row.roles,
        "models": row.models,
        "status": status_of(row, now),
        "created_by": row.created_by,
        "created_at": row.created_at.isoformat(),
        "expires_at": None if row.expires_at is None else row.expires_at.isoformat(),
        "last_used_on": None if row.last_used_on is None else row.last_used_on.isoformat(),
    }


def read_duration(option: str, text: str, *, least: timedelta) -> timedelta:
    """Read what an option was given as a duration, such as ``90d`` or ``12 hours``.

    Raises
    ------
    ArgumentError
        If it is none, or shorter than *least*.
    """
    short = _SHORT.fullmatch(text.strip())
    try:
        found = parse_duration(f"{short[1]} {_UNITS[short[2]]}" if short else text)
    except ValueError as error:
        raise ArgumentError(f"{option}: {error}; 90d is understood as well") from error
    if not isinstance(found, timedelta) or found < least:
        raise ArgumentError(
            f"{option} is {text!r}, expected a duration of {'a second or more' if least else '0 or more'}"
        )
    return found
