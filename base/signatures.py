"""Signatures over documents: who has no key of this installation can change none without being found out."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from base.errors import ArgumentError, EverfitError
from base.fingerprint import digest_document
from base.key_files import KEY_BYTES, draw_key, is_key, replace_keys
from base.settings import Settings

_SHORTEST_SECRET = 16
_KEY_FILE = "signing.key"
# The kind of document is signed with it: a signature under one kind says nothing about another.
_MESSAGE = "everfit signs {kind} {digest}"
_SIGNATURE = re.compile(r"hmac-sha256:(?P<key>[0-9a-f]{16}):(?P<code>[0-9a-f]{64})")


class SignatureRefused(EverfitError):
    """A document is not signed, or not as it stands here."""


@dataclass(frozen=True, repr=False)
class SigningKeys:
    """The key that signs, and with it those that signed before and are still believed.

    Examples
    --------
    >>> keys = SigningKeys.of("a secret of some length", "the one before that")
    >>> signature = keys.sign("note", {"text": "ours"})
    >>> keys.check("note", {"text": "ours"}, signature, what="the note")
    >>> keys.check("note", {"text": "theirs"}, signature, what="the note")
    Traceback (most recent call last):
    base.signatures.SignatureRefused: the note is not what was signed; ...
    """

    keys: tuple[bytes, ...]

    @classmethod
    def of(cls, *texts: str) -> SigningKeys:
        """Make keys of secrets, the one that signs first."""
        return cls(tuple(hashlib.sha256(text.encode()).digest() for text in texts))

    @property
    def names(self) -> tuple[str, ...]:
        """What the keys are called in signatures, which does not tell them."""
        return tuple(_name(key) for key in self.keys)

    def sign(self, kind: str, document: object) -> str:
        """Sign a JSON document with HMAC-SHA256 (RFC 2104) under the first key."""
        key = self.keys[0]
        return f"hmac-sha256:{_name(key)}:{_code(key, kind, document)}"

    def check(self, kind: str, document: object, signature: str | None, *, what: str) -> None:
        """Check that a document is what was signed, under any of the keys.

        Raises
        ------
        SignatureRefused
            If there is no signature, it is by another key, or the document was changed.
        """
        if signature is None:
            raise SignatureRefused(
                f"{what} is not signed; train it again here, or let such ones pass by EVERFIT_REQUIRE_SIGNATURE=false"
            )
        parts = _SIGNATURE.fullmatch(signature)
        if parts is None:
            raise SignatureRefused(f"{what} has the signature {signature[:100]!r}, which is none")
        known = dict(zip(self.names, self.keys, strict=True))
        if parts["key"] not in known:
            raise SignatureRefused(
                f"{what} is signed by key {parts['key']}, and known here are {', '.join(known)}; give all machines the "
                "same EVERFIT_SIGNING_KEY (or home's signing.key), and name older ones in EVERFIT_FORMER_SIGNING_KEYS"
            )
        if not hmac.compare_digest(parts["code"], _code(known[parts["key"]], kind, document)):
            raise SignatureRefused(
                f"{what} is not what was signed; restore the registry from a backup, or train it again"
            )


def signing_keys(settings: Settings) -> SigningKeys:
    """Return the installation's keys.

    They are ``EVERFIT_SIGNING_KEY`` with ``EVERFIT_FORMER_SIGNING_KEYS`` where that is set; the home folder's file
    counts then for nothing, since whoever could write it could sign. Else they are the lines of ``signing.key`` in
    the home folder, the newest first; the first is drawn once.

    Raises
    ------
    ArgumentError
        If a key is too short to be a secret, or the file is damaged.
    """
    if settings.signing_key is not None:
        texts = [settings.signing_key.get_secret_value()]
        if settings.former_signing_keys is not None:
            texts += settings.former_signing_keys.get_secret_value().split()
        if short := [len(text) for text in texts if len(text) < _SHORTEST_SECRET]:
            raise ArgumentError(
                f"EVERFIT_SIGNING_KEY or EVERFIT_FORMER_SIGNING_KEYS has a key of {short[0]} characters, expected at "
                f"least {_SHORTEST_SECRET}; take a random one, such as `openssl rand -hex 32` prints"
            )
        return SigningKeys.of(*texts)
    file = _key_file(settings)
    if not file.exists():
        draw_key(file)
    return SigningKeys.of(*_read(file))


def add_signing_key(settings: Settings) -> SigningKeys:
    """Draw a new key into the home folder; it signs from now on, the ones before are still believed.

    Raises
    ------
    ArgumentError
        If the key comes from ``EVERFIT_SIGNING_KEY``: then it is the operator's to change.
    """
    if settings.signing_key is not None:
        raise ArgumentError(
            "the key stands in EVERFIT_SIGNING_KEY; put a new one there and the one before into "
            "EVERFIT_FORMER_SIGNING_KEYS, separated by spaces"
        )
    signing_keys(settings)
    file = _key_file(settings)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        # Of two new keys at once, the second must not write the first one over.
        fcntl.flock(folder, fcntl.LOCK_EX)
        replace_keys(file, [secrets.token_hex(KEY_BYTES), *_read(file)])
    finally:
        os.close(folder)
    return signing_keys(settings)


def _key_file(settings: Settings) -> Path:
    return settings.home.absolute() / _KEY_FILE


def _read(file: Path) -> list[str]:
    texts = file.read_text().split()
    if not texts or not all(is_key(text) for text in texts):
        raise ArgumentError(
            f"file {str(file)!r} holds what is no key, expected lines of {2 * KEY_BYTES} hexadecimal digits; restore "
            "it from a backup: what was signed is refused without the key that signed it"
        )
    return texts


def _name(key: bytes) -> str:
    return hashlib.blake2b(b"everfit signing key", key=key, digest_size=8).hexdigest()


def _code(key: bytes, kind: str, document: object) -> str:
    message = _MESSAGE.format(kind=kind, digest=digest_document(document))
    return hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
