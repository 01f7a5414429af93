"""Access tokens: made, rotated and revoked, each change with its decision; the token itself is never stored."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import update
from sqlmodel import Session, col, select

from base.errors import ArgumentError, nearest
from registry.ledger import append_decision
from registry.tables import AccessToken

Role = Literal["predict", "label", "view", "operate", "approve", "admin"]
ROLES: tuple[Role, ...] = ("predict", "label", "view", "operate", "approve", "admin")
"""What a token may be good for; ``admin`` for all of it."""

PREFIX = "everfit_"
"""How every token begins, so that scanners for leaked secrets can find one."""
ID_LENGTH = 10
_ID_LETTERS = string.ascii_lowercase + string.digits
_SECRET_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


class TokenNotFound(ArgumentError):
    """No token of that name is good."""


@dataclass(frozen=True)
class IssuedToken:
    """A token that was just made: the only moment at which *secret* is known."""

    row: AccessToken
    secret: str

    def __repr__(self) -> str:
        return f"IssuedToken({self.row.name!r})"


def digest_token(token: str) -> str:
    """Digest a token as it is stored.

    A slow hash such as argon2 protects secrets that people choose, which can be guessed from a list. This one holds
    256 random bits: nobody finds it by trying, however fast, and a slow hash would cost each request milliseconds.
    """
    return sha256(token.encode()).hexdigest()


def create_token(
    session: Session,
    name: str,
    *,
    roles: Sequence[str],
    models: Sequence[str] | None = None,
    expires: timedelta | None = None,
    actor: str,
    now: datetime,
) -> IssuedToken:
    """Make a token.

    Parameters
    ----------
    models : sequence of str, optional
        The models that it may ask; default: all.
    expires : timedelta, optional
        For how long it is good; default: until it is revoked.

    Raises
    ------
    ArgumentError
        If the name is taken by a token that is good, or a role is unknown.
    """
    if not _NAME.fullmatch(name):
        raise ArgumentError(
            f"token name {name!r}: expected letters, digits, '_', '.' and '-', 64 at most, such as shop-website"
        )
    for role in roles:
        if role not in ROLES:
            raise ArgumentError(f"role {role!r}: expected {', '.join(ROLES)}{nearest(role, ROLES)}")
    if not roles:
        raise ArgumentError(f"token {name!r} has no role; give one or more of {', '.join(ROLES)}")
    if _find_live(session, name, now):
        raise ArgumentError(
            f"there is a token {name!r} already; `everfit tokens rotate {name}` gives it a new secret, "
            f"`everfit tokens revoke {name}` ends it"
        )
    issued = _issue(
        session,
        name,
        roles=sorted(set(roles), key=ROLES.index),
        models=None if models is None else sorted(set(models)),
        expires_at=None if expires is None else now + expires,
        actor=actor,
        now=now,
    )
    _record(session, "created", issued.row, actor=actor, reason="a token was made")
    return issued


def rotate_token(session: Session, name: str, *, overlap: timedelta, actor: str, now: datetime) -> IssuedToken:
    """Give a token a new secret; the one before is good for *overlap* longer, so that its users can change over.

    A token that expires does so as long after this moment as it did after it was made.

    Raises
    ------
    TokenNotFound
        If no token of that name is good.
    """
    live = _find_live(session, name, now)
    if not live:
        raise _not_found(session, name, now)
    newest = live[-1]
    lifetime = None if newest.expires_at is None else newest.expires_at - newest.created_at
    for row in live:
        if row.expires_at is None or row.expires_at > now + overlap:
            row.expires_at = now + overlap
            session.add(row)
    issued = _issue(
        session,
        name,
        roles=newest.roles,
        models=newest.models,
        expires_at=None if lifetime is None else now + lifetime,
        actor=actor,
        now=now,
    )
    until = f"{now + overlap:%Y-%m-%d %H:%M} UTC"
    _record(session, "rotated", issued.row, actor=actor, reason=f"the secret before is good until {until}")
    return issued


def revoke_token(session: Session, name: str, *, actor: str, reason: str, now: datetime) -> list[AccessToken]:
    """End a token, with all its secrets that are still good; services hear of it within two seconds.

    Raises
    ------
    TokenNotFound
        If no token of that name is good.
    """
    live = _find_live(session, name, now)
    if not live:
        raise _not_found(session, name, now)
    for row in live:
        row.revoked_at = now
        session.add(row)
    _record(session, "revoked", live[-1], actor=actor, reason=reason)
    return live


def list_tokens(session: Session) -> list[AccessToken]:
    """List all tokens that ever were, oldest generation first within each name."""
    query = select(AccessToken).order_by(col(AccessToken.name), col(AccessToken.generation))
    return list(session.exec(query))


def note_used(session: Session, ids: Sequence[str], *, day: date) -> None:
    """Note on which day tokens were last used; a day is enough to find those that nobody needs."""
    session.execute(
        update(AccessToken)
        .where(col(AccessToken.id).in_(ids), col(AccessToken.last_used_on).is_distinct_from(day))
        .values(last_used_on=day)
    )


def status_of(row: AccessToken, now: datetime) -> str:
    """Say what a token is: ``good``, ``expired`` or ``revoked``."""
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "good"


def _issue(
    session: Session,
    name: str,
    *,
    roles: list[str],
    models: list[str] | None,
    expires_at: datetime | None,
    actor: str,
    now: datetime,
) -> IssuedToken:
    last = session.exec(
        select(AccessToken.generation)
        .where(AccessToken.name == name)
        .order_by(col(AccessToken.generation).desc())
        .limit(1)
    ).first()
    key = "".join(secrets.choice(_ID_LETTERS) for _ in range(ID_LENGTH))
    secret = f"{PREFIX}{key}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    row = AccessToken(
        id=key,
        name=name,
        generation=(last or 0) + 1,
        digest=digest_token(secret),
        roles=list(roles),
        models=models,
        created_by=actor,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return IssuedToken(row, secret)


def _find_live(session: Session, name: str, now: datetime) -> list[AccessToken]:
    query = select(AccessToken).where(AccessToken.name == name).order_by(col(AccessToken.generation))
    return [row for row in session.exec(query) if status_of(row, now) == "good"]


def _not_found(session: Session, name: str, now: datetime) -> TokenNotFound:
    good = sorted({row.name for row in list_tokens(session) if status_of(row, now) == "good"})
    return TokenNotFound(
        f"there is no token {name!r} that is good; good are {', '.join(good) or 'none'}{nearest(name, good)}"
    )


def _record(session: Session, outcome: str, row: AccessToken, *, actor: str, reason: str) -> None:
    evidence: dict[str, Any] = {
        "token": row.name,
        "id": row.id,
        "generation": row.generation,
        "roles": row.roles,
        "models": row.models,
        "expires_at": None if row.expires_at is None else row.expires_at.isoformat(),
    }
    append_decision(
        session,
        kind="token",
        # A token belongs to no pipeline: it may be for many, and outlives them.
        pipeline="",
        outcome=f"{row.name}: {outcome}",
        reason=reason,
        actor=actor,
        evidence=evidence,
    )
