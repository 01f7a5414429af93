"""The senders of hooks as an installation keeps them: made, rotated with an overlap, removed.

A signature can only be checked with the secret itself: a digest of it, as is kept of a token, would not do. So they
lie in ``hooks.json`` in the home folder, readable by its owner alone, as ``signing.key`` does beside it. To encrypt
them with a key from the same folder would protect nothing; who keeps secrets elsewhere gives them by ``EVERFIT_HOOKS``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from base.errors import ArgumentError, nearest
from base.hook_sender import HookSender
from base.key_files import replace_text
from base.settings import Settings
from base.webhooks import check_webhook_name, draw_secret, read_secret

_FILE = "hooks.json"


def _check(secret: str) -> str:
    read_secret(secret)
    return secret


class StoredSecret(BaseModel):
    """A secret, and until when it is good; None: until it is rotated or removed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret: Annotated[str, AfterValidator(_check), Field(repr=False)]
    made_at: datetime
    until: datetime | None = None


class StoredSender(BaseModel):
    """A sender with its secrets, the newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    pipelines: tuple[str, ...] = ()
    secrets: tuple[StoredSecret, ...]

    def live(self, now: datetime) -> tuple[StoredSecret, ...]:
        """The secrets that are good at a moment."""
        return tuple(one for one in self.secrets if one.until is None or one.until > now)


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    senders: dict[str, StoredSender] = {}


class HookSenders:
    """Who may send hooks, at any moment: the settings' senders, or those of the home folder, read when they changed.

    Where ``EVERFIT_HOOKS`` is set, the home folder's file counts for nothing, as with the signing key: whoever could
    write there could else ask for trainings in another's name.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = settings.hooks
        self._file = _file(settings)
        self._mark: tuple[int, int, int] | None = None
        self._stored: Mapping[str, StoredSender] = {}

    def find(self, pipeline: str, *, now: datetime) -> dict[str, HookSender]:
        """Find who may ask for a training of a pipeline, with the secrets that are good at a moment.

        Raises
        ------
        ArgumentError
            If the file in the home folder is damaged.
        """
        return {name: sender for name, sender in self._all(now).items() if sender.may_ask(pipeline)}

    def _all(self, now: datetime) -> Mapping[str, HookSender]:
        if self._given is not None:
            return self._given
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return {}
        # Each change puts another file in its place.
        mark = found.st_ino, found.st_mtime_ns, found.st_size
        if mark != self._mark:
            self._stored = _read(self._file).senders
            self._mark = mark
        return {
            name: HookSender(secret=SecretStr(" ".join(one.secret for one in live)), pipelines=sender.pipelines)
            for name, sender in self._stored.items()
            if (live := sender.live(now))
        }


def list_senders(settings: Settings) -> Mapping[str, StoredSender]:
    """List the senders of the home folder, by name.

    Raises
    ------
    ArgumentError
        If the file is damaged.
    """
    return dict(sorted(_read(_file(settings)).senders.items()))


def add_sender(settings: Settings, name: str, *, pipelines: tuple[str, ...] = (), now: datetime) -> str:
    """Let a sender ask for trainings, of some pipelines or of any, and return its secret, this once.

    Raises
    ------
    ArgumentError
        If the name is none, or taken, or the senders stand in ``EVERFIT_HOOKS``.
    """
    try:
        check_webhook_name(name)
    except ValueError as error:
        raise ArgumentError(f"sender {name!r}: {error}, such as airflow") from error
    with _changing(settings) as senders:
        if name in senders:
            raise ArgumentError(
                f"there is a sender {name!r} already; `everfit hooks rotate {name}` gives it a new secret, "
                f"`everfit hooks remove {name}` ends it"
            )
        secret = StoredSecret(secret=draw_secret(), made_at=now)
        senders[name] = StoredSender(pipelines=tuple(sorted(set(pipelines))), secrets=(secret,))
    return secret.secret


def rotate_sender(settings: Settings, name: str, *, overlap: timedelta, now: datetime) -> str:
    """Give a sender a new secret and return it, this once; the one before is good for *overlap* longer.

    Of secrets that were rotated before, none stays: two are good at once, and never more.

    Raises
    ------
    ArgumentError
        If there is no such sender, or the senders stand in ``EVERFIT_HOOKS``.
    """
    with _changing(settings) as senders:
        before = _get(senders, name)
        former = tuple(
            one.model_copy(update={"until": min(one.until or now + overlap, now + overlap)})
            for one in before.live(now)[:1]
            if overlap
        )
        secret = StoredSecret(secret=draw_secret(), made_at=now)
        senders[name] = before.model_copy(update={"secrets": (secret, *former)})
    return secret.secret


def remove_sender(settings: Settings, name: str) -> StoredSender:
    """Refuse from now on what a sender signs, with any of its secrets, and return what it was.

    Raises
    ------
    ArgumentError
        If there is no such sender, or the senders stand in ``EVERFIT_HOOKS``.
    """
    with _changing(settings) as senders:
        removed = _get(senders, name)
        del senders[name]
    return removed


@contextmanager
def _changing(settings: Settings) -> Iterator[dict[str, StoredSender]]:
    if settings.hooks is not None:
        raise ArgumentError(
            "the senders stand in EVERFIT_HOOKS; change them there: while a secret is being changed, both may stand in "
            "it with a space between"
        )
    file = _file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        # Of two changes at once, the second must not write the first one over.
        fcntl.flock(folder, fcntl.LOCK_EX)
        senders = dict(_read(file).senders)
        yield senders
        replace_text(file, _Stored(senders=senders).model_dump_json(indent=1))
    finally:
        os.close(folder)


def _get(senders: Mapping[str, StoredSender], name: str) -> StoredSender:
    if name not in senders:
        known = sorted(senders)
        raise ArgumentError(
            f"there is no sender {name!r}; there are {', '.join(known) or 'none'}; `everfit hooks add NAME` makes one"
            f"{nearest(name, known)}"
        )
    return senders[name]


def _file(settings: Settings) -> Path:
    return settings.home.absolute() / _FILE


def _read(file: Path) -> _Stored:
    try:
        return _Stored.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return _Stored()
    except ValidationError:
        # What stands there may be a secret.
        raise ArgumentError(
            f"file {str(file)!r} does not hold the senders of hooks; restore it from a backup, or delete it and make "
            "them again with `everfit hooks add NAME`"
        ) from None
