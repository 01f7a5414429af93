"""Send messages to people by Apprise, which knows a hundred services; what is secret of an address stays so."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import unquote_plus

from pydantic import SecretStr

from base.receivers import Severity, address_owner, name_scheme
from deployments.notices.carrier import NotCarried
from registry.notices.happening import Happening
from registry.notices.wording import Message, write_digest, write_message

_TYPES: dict[Severity, str] = {"info": "info", "notice": "info", "warning": "warning", "critical": "failure"}

# What a problem may say of an address: words that are no secret, and shorter parts than any token.
_SHORTEST_SECRET = 3
_PARTS = re.compile(r"[/:@?&=,;#+\s]+")


class AppriseMessages:
    """The carrier to one address of a receiver.

    Parameters
    ----------
    public_url, environment
        What a message says of this installation; see :func:`registry.notices.wording.write_message`.
    """

    def __init__(self, url: SecretStr, *, public_url: str | None = None, environment: str = "prod") -> None:
        self._url = url
        self._public_url = public_url
        self._environment = environment

    def carry(self, happenings: Sequence[Happening], *, owner: str) -> None:
        """Send one happening, or a digest of many.

        Raises
        ------
        NotCarried
            If the service did not take it, or Apprise does not know such an address; neither says the address.
        """
        write = {"public_url": self._public_url, "environment": self._environment}
        (first, *others) = happenings
        message = write_digest(happenings, **write) if others else write_message(first, **write)  # type: ignore[arg-type]
        url = address_owner(self._url, owner)
        if url is None:
            raise NotCarried(f"the pipeline's owner {owner!r} is no e-mail address", is_final=True)
        send_message(url, message)


def send_message(url: str, message: Message) -> None:
    """Send a message to one address.

    Raises
    ------
    NotCarried
        If it was not taken.
    """
    import apprise

    asset = apprise.AppriseAsset(app_id="Everfit", app_desc="Everfit", async_mode=False, storage_mode="memory")
    with _overheard() as heard:
        plugin = apprise.Apprise.instantiate(url, asset=asset)
        if plugin is None:
            raise NotCarried(
                f"Apprise does not understand the address, of kind {name_scheme(SecretStr(url))!r}; "
                "see EVERFIT_NOTIFY and Apprise's list of services"
            )
        sender = apprise.Apprise(asset=asset)
        sender.add(plugin)
        taken = sender.notify(
            title=message.title,
            body=message.body,
            notify_type=apprise.NotifyType(_TYPES[message.severity]),
            body_format=apprise.NotifyFormat.TEXT,
        )
    if not taken:
        said = "; ".join(dict.fromkeys(heard)) or "the service did not take it"
        raise NotCarried(hide_secrets(said, url))


def hide_secrets(text: str, url: str) -> str:
    """Return what a service or a library said, without any part of an address but its scheme.

    Examples
    --------
    >>> hide_secrets("cannot reach hooks.example.org as ana: s3cret", "jsons://ana:s3cret@hooks.example.org/T0KEN")
    'cannot reach *** as ***: ***'
    """
    _, _, rest = url.partition("://")
    parts = {part for form in (rest, unquote_plus(rest)) for part in _PARTS.split(form)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            text = re.sub(re.escape(part), "***", text, flags=re.IGNORECASE)
    return text


class _Ear(logging.Filter):
    """Keeps what libraries log about an address in threads that send out of every log, and remembers complaints."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[int, list[str]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        heard = self.heard.get(threading.get_ident())
        if heard is None:
            return True
        if record.name == "apprise" and record.levelno >= logging.WARNING:
            heard.append(" ".join(record.getMessage().split()))
        return False


_ear = _Ear()
# Apprise's debug messages hold whole addresses; urllib3's the path, which is where services keep their tokens.
_TALKERS = ("apprise", "urllib3.connectionpool", "requests", "httpx", "httpcore.http11", "httpcore.connection")


@contextmanager
def _overheard() -> Iterator[list[str]]:
    me, heard = threading.get_ident(), list[str]()
    for name in _TALKERS:
        logging.getLogger(name).addFilter(_ear)  # the same filter again is added once
    _ear.heard[me] = heard
    try:
        yield heard
    finally:
        _ear.heard.pop(me, None)
