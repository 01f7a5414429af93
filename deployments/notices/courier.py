"""The courier: reads on in the ledger for every sink, and sends what waits, each sink in a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from base.errors import EverfitError
from base.settings import Settings
from base.times import utc_now
from deployments.notices.apprise_message import AppriseMessages
from deployments.notices.carrier import Carrier, NotCarried
from deployments.notices.prefect_events import PrefectEvents
from registry.notices.feed import collect
from registry.notices.outbox import (
    claim_notices,
    delete_old,
    give_up,
    list_due,
    list_sent_at,
    mark_sent,
    put_off,
    read_happening,
    release_notices,
)
from registry.notices.pacing import choose_pace
from registry.notices.sinks import PREFECT, Sink, receiver_sinks
from registry.store import Registry
from registry.tables import NoticeRow
from registry.webhook_delivery import next_wait

_log = logging.getLogger(__name__)

_MOST_EVENTS = 100
# So many happenings a digest counts; the rest is in the next one.
_MOST_IN_DIGEST = 1000
# Prefect is down for minutes, not for days, and its queue must not stand still for long afterwards.
_LONGEST_PREFECT_WAIT = 30.0
_PREFECT_WAIT = 2.0
_TIDY_EVERY = timedelta(hours=1)


@dataclass(frozen=True)
class Route:
    """A sink, what takes happenings to it, and how patient it is with it.

    Parameters
    ----------
    most_tries : int, optional
        After so many tries a notice is given up; default: never.
    first_wait, longest_wait : float
        Seconds that the sink rests after the first failure, and at most.
    """

    sink: Sink
    carrier: Carrier
    most_tries: int | None = None
    first_wait: float = _PREFECT_WAIT
    longest_wait: float = _LONGEST_PREFECT_WAIT


class Courier:
    """Sends for as long as its process lives; any number of couriers may work side by side.

    A sink that is slow or dead holds up no other: each has a thread of its own while something waits for it.
    """

    def __init__(self, registry: Registry, routes: Sequence[Route], *, now: Callable[[], datetime] = utc_now) -> None:
        self._registry = registry
        self._routes = list(routes)
        self._now = now
        self._threads: dict[str, threading.Thread] = {}
        self._tidied_at: datetime | None = None

    def tick(self) -> None:
        """Collect what happened, and have it sent; what is being sent goes on in its threads."""
        now = self._now()
        collect(self._registry.database, [route.sink for route in self._routes], now=now)
        for route in self._routes:
            thread = self._threads.get(route.sink.name)
            if (thread is not None and thread.is_alive()) or not self._has_work(route, now):
                continue
            thread = threading.Thread(target=self._send, args=(route,), name=f"everfit-{route.sink.name}", daemon=True)
            self._threads[route.sink.name] = thread
            thread.start()
        if self._tidied_at is None or not timedelta(0) <= now - self._tidied_at < _TIDY_EVERY:
            self._tidied_at = now
            with self._registry.database.write() as session:
                delete_old(session, now)

    def wait(self, seconds: float) -> bool:
        """Wait until all that is being sent has arrived or failed, or so long; tell whether it has."""
        deadline = time.monotonic() + seconds
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads.values())

    def send_due(self, route: Route) -> bool:
        """Send what is due to one sink once; tell whether there may be more to send at once."""
        with self._registry.database.write() as session:
            now = self._now()
            rows, is_together = _choose_rows(session, route.sink, now)
            claim_notices(session, rows, now, together=is_together)
        if not rows:
            return False
        return self._carry_all(route, [rows] if is_together else [[row] for row in rows])

    def _has_work(self, route: Route, now: datetime) -> bool:
        with self._registry.database.read() as session:
            return bool(_choose_rows(session, route.sink, now)[0])

    def _send(self, route: Route) -> None:
        try:
            while self.send_due(route):
                pass
        except EverfitError as error:
            # What was claimed is due again when the claim has passed.
            _log.warning("notices for %s are sent later: %s", route.sink.name, error)
        except Exception as error:
            # Never with its traceback, which may hold an address.
            _log.warning("notices for %s failed and are sent later: %s", route.sink.name, type(error).__name__)

    def _carry_all(self, route: Route, messages: Sequence[Sequence[NoticeRow]]) -> bool:
        """Send one message after the other until one fails; the rest is given back."""
        for number, rows in enumerate(messages):
            if not self._carry(route, rows):
                untried = [row.id for rest in messages[number + 1 :] for row in rest if row.id is not None]
                with self._registry.database.write() as session:
                    release_notices(session, untried, self._now())
                return False
        return True

    def _carry(self, route: Route, rows: Sequence[NoticeRow]) -> bool:
        """Send rows as one message, and record what became of it; tell whether the next may be sent."""
        ids = [row.id for row in rows if row.id is not None]
        try:
            route.carrier.carry([read_happening(row) for row in rows], owner=rows[0].owner)
        except NotCarried as problem:
            return self._note_failure(route, rows, problem)
        except Exception as error:
            # A fault of a library about one message; without its text, which may hold an address.
            return self._note_failure(route, rows, NotCarried(f"it failed: {type(error).__name__}"))
        with self._registry.database.write() as session:
            mark_sent(session, ids, self._now())
        if rows[0].tries > 1:
            _log.info("%s is reached again", route.sink.name)
        return True

    def _note_failure(self, route: Route, rows: Sequence[NoticeRow], problem: NotCarried) -> bool:
        ids = [row.id for row in rows if row.id is not None]
        now, tries = self._now(), max(row.tries for row in rows)
        if problem.is_final and len(rows) > 1:
            # One of them is refused; alone, each of the others gets through.
            return self._carry_all(route, [[row] for row in rows])
        lost = [row.id for row in rows if row.id is not None and route.most_tries and row.tries >= route.most_tries]
        if problem.is_final:
            lost = ids
        wait = next_wait(tries, first_seconds=route.first_wait, chance=random.random())
        with self._registry.database.write() as session:
            if lost:
                give_up(session, lost, str(problem), now)
            put_off(session, ids, str(problem), now, seconds=min(wait, route.longest_wait))
        if lost:
            _log.error("%d notices for %s are given up: %s", len(lost), route.sink.name, problem)
        elif tries == 1:
            _log.warning("notices for %s wait: %s", route.sink.name, problem)
        return problem.is_final


def _choose_rows(session: Session, sink: Sink, now: datetime) -> tuple[list[NoticeRow], bool]:
    """Choose what goes out now, and whether as one message; people are told at a pace of their own."""
    if sink.receiver is None:
        return list_due(session, sink.name, now, limit=_MOST_EVENTS), True
    rows = list_due(session, sink.name, now, limit=_MOST_IN_DIGEST)
    # A digest has one address: of a gateway that writes to owners, those of one owner.
    rows = [row for row in rows if row.owner == rows[0].owner] if sink.is_personal else rows
    pace = choose_pace(len(rows), list_sent_at(session, sink.name, now), now, per_hour=sink.receiver.per_hour)
    return rows[: pace.n_rows], pace.is_digest


def make_routes(settings: Settings, *, with_prefect: bool = True) -> list[Route]:
    """Make the routes of an installation: Prefect, and each address of each receiver."""
    routes = [
        Route(
            sink,
            AppriseMessages(sink.url, public_url=settings.public_url, environment=settings.environment),
            most_tries=settings.webhook_tries,
            first_wait=settings.webhook_wait_seconds,
            longest_wait=6 * 3600.0,
        )
        for sink in receiver_sinks(settings.notify)
        if sink.url is not None
    ]
    return [Route(Sink(PREFECT), PrefectEvents()), *routes] if with_prefect else routes
