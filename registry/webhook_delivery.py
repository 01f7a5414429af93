"""Send what stands in the outbox: at least once, signed, with longer and longer waits, by whoever comes by."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, col, select

from base.background import Background
from base.database import Database
from base.errors import EverfitError
from base.settings import Settings
from base.times import utc_now
from base.webhooks import Webhook
from registry.tables import WebhookDelivery
from registry.webhooks import DELIVERED, GIVEN_UP, WAITING

if TYPE_CHECKING:
    import urllib.request

_log = logging.getLogger(__name__)

# How long a receiver may take; it should answer first and work afterwards.
_ANSWER_SECONDS = 10.0
# A try whose process died is anybody's again after so long.
_CLAIM = timedelta(seconds=60)
_LONGEST_WAIT_SECONDS = 6 * 3600.0
_GONE = 410
_LONGEST_PROBLEM = 200
# The outbox is asked so often by a process that stays.
_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Sent:
    """One try: whether the receiver took the message, and if not, what was wrong and what becomes of it."""

    receiver: str
    message_id: str
    event: str
    status: str
    problem: str = ""
    status_code: int | None = None


def deliver_due(database: Database, settings: Settings, *, within: float | None = None) -> list[Sent]:
    """Send what is due to each receiver of the settings, oldest first, all receivers side by side.

    A receiver that fails rests until its next try, and its later messages with it. So one that is down costs a try
    now and then, whoever asks.

    Parameters
    ----------
    within : float, optional
        Return after so many seconds, whatever is still under way; default: when all have answered or failed.
    """
    receivers = _find_due(database, settings.webhooks)
    deadline = None if within is None else time.monotonic() + within
    sent: list[Sent] = []
    threads = [
        threading.Thread(target=_deliver_to, args=(database, settings, name, deadline, sent), daemon=True)
        for name in receivers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
    return list(sent)


def deliver_soon(database: Database, settings: Settings) -> list[Sent]:
    """Send what is due in at most a second, and fail at nothing: what was done is done, told or not."""
    if not settings.webhooks:
        return []
    try:
        return deliver_due(database, settings, within=1.0)
    except EverfitError as error:
        _log.warning("webhooks were not sent, and will be later: %s", error)
        return []


def send_message(receiver: Webhook, message: WebhookDelivery, *, timeout_seconds: float = _ANSWER_SECONDS) -> int:
    """Send one signed message and return the status that it was answered with.

    Raises
    ------
    ConnectionError
        If no answer came; the message says why, and holds neither address nor secret.
    """
    import http.client
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        receiver.url.get_secret_value(),
        data=message.body.encode(),
        headers={
            "content-type": "application/json",
            "user-agent": "everfit",
            **receiver.sign(message.message_id, int(time.time()), message.body),
        },
        method="POST",
    )
    try:
        with urllib.request.build_opener(_no_redirects()).open(request, timeout=timeout_seconds) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return int(refusal.code)
    except TimeoutError:
        raise ConnectionError(f"no answer within {timeout_seconds:.0f} s") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Its text may hold the address.
        cause = getattr(error, "reason", error)
        if isinstance(cause, TimeoutError):
            raise ConnectionError(f"no answer within {timeout_seconds:.0f} s") from None
        raise ConnectionError(f"cannot be reached ({type(cause).__name__})") from None


def next_wait(tries: int, *, first_seconds: float, chance: float) -> float:
    """Return how many seconds to wait after some tries: three times longer each, up to six hours, spread by a quarter.

    Parameters
    ----------
    chance : float
        Drawn from [0, 1), so that not all come back to a receiver in the same moment.

    Examples
    --------
    >>> [next_wait(tries, first_seconds=5, chance=0.5) for tries in (1, 2, 3, 12)]
    [5.0, 15.0, 45.0, 21600.0]
    """
    wait: float = min(first_seconds * 3.0 ** min(tries - 1, 30), _LONGEST_WAIT_SECONDS)
    return wait * (0.75 + 0.5 * chance)


class Courier:
    """A thread that sends what is due for as long as its process lives; a context manager.

    Without a receiver in the settings it does nothing.
    """

    def __init__(self, database: Database, settings: Settings, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._database = database
        self._settings = settings
        self._look_seconds = look_seconds
        self._background = Background(self._run, name="everfit-courier")

    def __enter__(self) -> Courier:
        if self._settings.webhooks:
            self._background.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._background.stop(patience=1.0)

    def _run(self) -> None:
        while not self._background.sleep(self._look_seconds):
            try:
                deliver_due(self._database, self._settings)
            except Exception as error:
                # A database that is away comes back; the service must not lose its courier over it.
                _log.info("the outbox of webhooks cannot be read at present: %s", error)


def _no_redirects() -> urllib.request.BaseHandler:
    """Make what refuses to follow a redirect: what is signed for one address goes to no other."""
    from urllib.request import HTTPRedirectHandler

    class NoRedirects(HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    return NoRedirects()


def _find_due(database: Database, receivers: Mapping[str, Webhook]) -> list[str]:
    if not receivers:
        return []
    now = utc_now()
    with database.read() as session:
        return [name for name in receivers if _next_due(session, name, now) is not None]


def _next_due(session: Session, receiver: str, now: datetime) -> WebhookDelivery | None:
    """Find the oldest message to a receiver, unless the receiver rests or another process sends to it."""
    query = select(WebhookDelivery).where(WebhookDelivery.receiver == receiver, WebhookDelivery.status == WAITING)
    resting = query.where(WebhookDelivery.tries > 0, col(WebhookDelivery.next_try_at) > now)
    if session.exec(resting.limit(1)).first() is not None:
        return None
    return session.exec(query.order_by(col(WebhookDelivery.id)).limit(1)).first()


def _deliver_to(database: Database, settings: Settings, name: str, deadline: float | None, sent: list[Sent]) -> None:
    receiver = settings.webhooks[name]
    try:
        while deadline is None or time.monotonic() < deadline:
            with database.write() as session:
                message = _next_due(session, name, utc_now())
                if message is None:
                    return
                message.tries += 1
                message.next_try_at = utc_now() + _CLAIM
                session.add(message)
            left = _ANSWER_SECONDS if deadline is None else min(_ANSWER_SECONDS, deadline - time.monotonic())
            outcome = _try(receiver, message, max(left, 0.1), settings.webhook_tries)
            with database.write() as session:
                _record(session, message.id, outcome, settings.webhook_wait_seconds)
            sent.append(outcome)
            if outcome.status != DELIVERED:
                return
    except EverfitError as error:
        # Whoever waits for the thread would not hear of it; the message is due again when the claim has passed.
        _log.warning("webhook %r: %s", name, error)


def _try(receiver: Webhook, message: WebhookDelivery, timeout_seconds: float, most_tries: int) -> Sent:
    code, problem = None, ""
    try:
        code = send_message(receiver, message, timeout_seconds=timeout_seconds)
        if not 200 <= code < 300:
            problem = f"answered with status {code}"
    except ConnectionError as error:
        problem = str(error)
    if not problem:
        status = DELIVERED
    else:
        status = GIVEN_UP if code == _GONE or message.tries >= most_tries else WAITING
    return Sent(message.receiver, message.message_id, message.event, status, problem[:_LONGEST_PROBLEM], code)


def _record(session: Session, row_id: int | None, outcome: Sent, first_seconds: float) -> None:
    row = session.get(WebhookDelivery, row_id)
    if row is None or row.status != WAITING:
        return
    now = utc_now()
    row.status, row.problem = outcome.status, outcome.problem
    if outcome.status == WAITING:
        wait = next_wait(row.tries, first_seconds=first_seconds, chance=random.random())
        row.next_try_at = now + timedelta(seconds=wait)
    else:
        row.finished_at = now
    session.add(row)
    if outcome.status == GIVEN_UP:
        _log.error("webhook %r: %s is given up after %d tries: %s", row.receiver, row.event, row.tries, row.problem)
