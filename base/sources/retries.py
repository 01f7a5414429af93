"""Ask a source again when it is away, and say so clearly when it stays away."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

from base.errors import EverfitError
from base.masking import mask_secrets
from base.settings import Settings

_Answer = TypeVar("_Answer")
_LONGEST_WAIT_SECONDS = 30.0
_NETWORK_ERRORS = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ETIMEDOUT,
    errno.EPIPE,
    errno.EBUSY,
    errno.EIO,
    errno.ESTALE,
}
_AWAY_WORDS = ("EndpointConnectionError", "ConnectTimeout", "ReadTimeout", "ConnectionClosed", "ClientConnector")
# What no waiting mends, though drivers report it in the same class as a server that is away.
_HOPELESS = ("authentication failed", "does not exist", "no password supplied", "no such table", "syntax error")


class SourceAway(EverfitError):
    """A source did not answer, however often it was asked; nothing of it was stored."""

    def __init__(self, source: str, problem: str, n_tries: int) -> None:
        super().__init__(
            f"source {source!r} is away: {problem} (asked {n_tries} times); nothing was extracted, the champion "
            "stays; see whether it is up and reachable from here, and run again"
        )
        self.source = source


class SourceChanged(EverfitError):
    """A file of a source is another one after it was read than before."""

    def __init__(self, source: str, file: str) -> None:
        super().__init__(
            f"source {source!r}: file {file!r} was changed while it was read, so nothing of it was kept; let its "
            "writer finish (or let it write aside and rename), and run again"
        )
        self.source = source
        self.file = file


class SourceFailed(EverfitError):
    """A source answered with an error that asking again does not mend."""

    def __init__(self, source: str, problem: str, way_out: str) -> None:
        super().__init__(f"source {source!r} cannot be read: {problem}; {way_out}")
        self.source = source


def ask_patiently(source: str, ask: Callable[[], _Answer], settings: Settings) -> _Answer:
    """Call *ask* until it answers, with growing waits and chance in them, so that many askers do not come at once.

    *ask* starts anew each time: nothing of a broken answer may stay.

    Raises
    ------
    SourceAway
        If the last try failed as well. Its message holds no secret, and the error that caused it, which may, is
        not shown with it.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

    first = settings.source_wait_seconds
    retrying = Retrying(
        stop=stop_after_attempt(settings.source_tries),
        wait=wait_exponential(multiplier=first, max=_LONGEST_WAIT_SECONDS) + wait_random(0, first),
        retry=retry_if_exception(is_away),
        reraise=True,
    )
    try:
        return retrying(ask)
    except Exception as error:
        if not is_away(error):
            raise
        raise SourceAway(source, describe_safely(error, settings), settings.source_tries) from None


def is_away(error: BaseException) -> bool:
    """Tell a source that does not answer from one that answers with a refusal."""
    if isinstance(error, EverfitError | FileNotFoundError | PermissionError):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK_ERRORS:
        return True
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if any(word in name for word in _AWAY_WORDS for name in kinds):
        return True
    if "HTTPStatusError" in kinds:
        status = int(getattr(getattr(error, "response", None), "status_code", 0))
        return status >= 500 or status in (408, 429)
    if "TransportError" in kinds:  # httpx
        return True
    if kinds & {"OperationalError", "InterfaceError"}:
        text = str(error)
        if "sqlite3" in text:
            return "locked" in text or "busy" in text
        return not any(word in text for word in _HOPELESS)
    return False


def describe_safely(error: BaseException, settings: Settings) -> str:
    """Say what a library said, in one line and without secrets."""
    cause = getattr(error, "orig", None) or error
    text = " ".join(str(cause).split()) or type(cause).__name__
    return mask_secrets(f"{type(cause).__name__}: {text}"[:400], settings)
