"""Who may send a hook: its signature, a token with the role ``operate``, or nobody's leave on a service of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from base.hook_secrets import HookSenders
from base.settings import Settings
from serving.access.mode import is_access_on, is_loopback
from serving.hooks.signature import SIGNATURE, check_signature
from serving.web.problems import BodyRefused

UNSIGNED = "unsigned"


@dataclass(frozen=True)
class Author:
    """Who sent a hook: the name for the ledger, and of a signed one the key that tells it from others, and when."""

    name: str
    key: str | None = None
    sent_at: int | None = None


class HookGate:
    """Lets a hook in, or says why not.

    A signature that is shown must be right, whatever token comes with it. Without one, the gate of the service has
    asked for a token already; where it asks nobody, since it is heard on this machine alone, an unsigned hook passes
    as long as nobody has a secret for that pipeline: behind a proxy, this machine is the whole world.
    """

    def __init__(self, settings: Settings) -> None:
        self._senders = HookSenders(settings)
        self._asks_nobody = not is_access_on(settings) and is_loopback(settings.service_host)

    def admit(self, headers: Mapping[str, str], body: bytes, *, pipeline: str, token: str, now: datetime) -> Author:
        """Say who has sent a hook.

        Parameters
        ----------
        headers : mapping
            By lower-case name.
        token : str
            The name of the token that was shown and is good for this; empty: none.

        Raises
        ------
        BodyRefused
            401.
        """
        if SIGNATURE in headers:
            signed = check_signature(headers, body, self._senders.find(pipeline, now=now), now=now)
            return Author(f"hook {signed.sender}", f"{signed.sender} {signed.message_id}", signed.sent_at)
        if token:
            return Author(f"token {token}")
        if self._asks_nobody and not self._senders.find(pipeline, now=now):
            return Author("hook (unsigned)")
        raise BodyRefused(
            401,
            "the hook is not signed: sign it as Standard Webhooks has it, with the secret that `everfit hooks add` "
            "shows, or show a token with the role operate",
            reason=UNSIGNED,
        )
