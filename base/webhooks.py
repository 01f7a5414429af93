"""Signed webhooks: who is told of what happens in the registry, and the signature by which they know it is true."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

WebhookEvent = Literal["version.registered", "verdict.given", "alias.moved", "version.deleted", "rollout.moved"]
EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)

_PREFIX = "whsec_"
# What the specification asks of a symmetric secret.
_FEWEST_BYTES, _MOST_BYTES = 24, 64
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


def _check_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("expected an address such as https://example.org/hooks, without a user")
    return url


def check_secret(secret: SecretStr) -> SecretStr:
    """Return one or several secrets, with a space between, as they are, if they are such.

    Raises
    ------
    ValueError
        If there is none, or one is no secret; it is not repeated.
    """
    if not secret.get_secret_value().split():
        raise ValueError("expected a secret such as whsec_ with the base64 of 24 to 64 random bytes")
    for one in secret.get_secret_value().split():
        read_secret(one)
    return secret


class Webhook(BaseModel):
    """One receiver: its address, the secret that it shares with us, and the events that it wants to hear of.

    An address may hold a token in its path, so it is as secret as the secret. While a secret is being changed, both
    stand in ``secret``, with a space between: each message is signed with both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[SecretStr, AfterValidator(_check_url)]
    secret: Annotated[SecretStr, AfterValidator(check_secret)]
    events: tuple[WebhookEvent, ...] = EVENTS

    @property
    def host(self) -> str:
        """Where it is, without what may be secret: scheme, host and port.

        Examples
        --------
        >>> Webhook(url="https://example.org:8443/hooks/T0KEN", secret="whsec_" + "A" * 32).host
        'https://example.org:8443'
        """
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.hostname}" + ("" if parts.port is None else f":{parts.port}")

    def sign(self, message_id: str, timestamp: int, body: str) -> dict[str, str]:
        """Make the headers of a message as the Standard Webhooks specification 1.0 has them.

        Parameters
        ----------
        message_id : str
            The same in every try, so that the receiver knows what it has heard already.
        timestamp : int
            Of this try, in seconds since 1970; a receiver refuses what is older than some minutes.
        body : str
            Exactly what is sent.

        Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
        """
        signatures = (
            sign_message(read_secret(secret), message_id, str(timestamp), body.encode())
            for secret in self.secret.get_secret_value().split()
        )
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures),
        }


def sign_message(secret: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the signature ``v1`` of a message: 32 bytes, not yet written as base64."""
    return hmac.new(secret, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()


def draw_secret() -> str:
    """Draw a secret of 256 random bits.

    Examples
    --------
    >>> secret = draw_secret()
    >>> secret[:6], len(read_secret(secret)), secret == draw_secret()
    ('whsec_', 32, False)
    """
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_webhook_name(name: str) -> str:
    """Return the name of a receiver as it is, if it is one.

    Raises
    ------
    ValueError
        If it holds other characters than letters, digits, ``_``, ``.`` and ``-``.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("expected names of letters, digits, '_', '.' and '-', 64 at most")
    return name


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret such as ``whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD``.

    Raises
    ------
    ValueError
        If it is none; it is not repeated.
    """
    try:
        secret = (
            base64.b64decode(text.removeprefix(_PREFIX) + "==", validate=False) if text.startswith(_PREFIX) else b""
        )
    except binascii.Error:
        secret = b""
    if not _FEWEST_BYTES <= len(secret) <= _MOST_BYTES:
        raise ValueError("expected a secret such as whsec_ with the base64 of 24 to 64 random bytes")
    return secret
