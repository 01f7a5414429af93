"""The tokens that are good at present, in memory: no request asks the registry."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

from base.times import utc_now
from registry.tokens import ID_LENGTH, PREFIX, list_tokens, note_used
from serving.access.routes import ADMIN, Route

if TYPE_CHECKING:
    from registry.store import Registry
    from registry.tables import AccessToken

_SCHEMES = (b"Bearer ", b"bearer ", b"BEARER ")
_SCHEME_BYTES = len(b"Bearer ")
_ID_END = len(PREFIX) + ID_LENGTH + 1


@dataclass(frozen=True, slots=True)
class Grant:
    """What one token allows."""

    id: str
    name: str
    caller: str
    digest: bytes
    roles: frozenset[str]
    models: frozenset[str] | None
    expires: float

    def is_expired(self, now: float) -> bool:
        """Tell whether the token was good only before *now*, in seconds since 1970."""
        return now >= self.expires

    def allows(self, route: Route, now: float) -> bool:
        """Tell whether a request to *route* may pass.

        A token for some models passes at addresses that name none of them only to look: what would predict there is
        not known here.
        """
        if now >= self.expires or (route.role not in self.roles and ADMIN not in self.roles):
            return False
        if self.models is None or route.model in self.models:
            return True
        return route.model is None and route.role == "view"


class Keyring:
    """The tokens of a registry, read again in the follower's rhythm.

    A registry that is away changes nothing: what was good stays good, until it expires.
    """

    def __init__(self) -> None:
        self._grants: dict[bytes, Grant] = {}
        self._used: dict[str, Grant] = {}
        self._told: dict[str, date] = {}

    def __len__(self) -> int:
        return len(self._grants)

    def find(self, authorization: bytes | None) -> Grant | None:
        """Find what a header ``Authorization: Bearer everfit_ID_SECRET`` allows; None if no such token is good."""
        if authorization is None or authorization[:_SCHEME_BYTES] not in _SCHEMES:
            return None
        token = authorization[_SCHEME_BYTES:].strip()
        grant = self._grants.get(token[:_ID_END])
        # The id finds the one candidate, the comparison of digests takes the same time for any secret.
        if grant is None or not hmac.compare_digest(sha256(token).digest(), grant.digest):
            return None
        self._used[grant.id] = grant
        return grant

    def put(self, tokens: Iterable[AccessToken]) -> None:
        """Replace what is good by the live ones among *tokens*."""
        self._grants = {
            f"{PREFIX}{token.id}_".encode(): Grant(
                id=token.id,
                name=token.name,
                # A client's address never looks like this.
                caller=f"token {token.name}",
                digest=bytes.fromhex(token.digest),
                roles=frozenset(token.roles),
                models=None if token.models is None else frozenset(token.models),
                expires=float("inf") if token.expires_at is None else token.expires_at.timestamp(),
            )
            for token in tokens
            if token.revoked_at is None
        }

    def refresh(self, registry: Registry) -> None:
        """Read the tokens again, and note which ones were used today."""
        with registry.database.read() as session:
            self.put(list_tokens(session))
        today = utc_now().date()
        used = [name for name in tuple(self._used) if self._told.get(name) != today]
        self._used.clear()
        if used:
            with registry.database.write() as session:
                note_used(session, used, day=today)
            self._told.update(dict.fromkeys(used, today))
