"""The dispatcher at work: in a thread of `everfit up`, or as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from base.settings import Settings
from base.times import utc_now
from deployments.launching.dispatcher import Dispatcher
from deployments.launching.sender import PrefectSender
from monitoring.desk import decide_waiting
from monitoring.watches.watching import watch_all
from registry.launches import WAITING, list_open
from registry.store import open_registry
from registry.tables import Launch
from serving.operation.upkeep import Upkeep


def dispatch_once(settings: Settings) -> tuple[list[Launch], list[Launch]]:
    """Send what waits and look after what was sent; return what was sent, and what waits still."""
    registry = open_registry(settings)
    try:
        sent = Dispatcher(registry, PrefectSender(), decide=decide_waiting).tick()
        with registry.database.read() as session:
            return sent, [launch for launch in list_open(session) if launch.state == WAITING]
    finally:
        registry.database.close()


@contextmanager
def dispatching(settings: Settings) -> Iterator[Dispatcher]:
    """Send what is granted for as long as the context lasts; Prefect's client of this process says to which server."""
    registry = open_registry(settings)
    dispatcher = Dispatcher(registry, PrefectSender(), decide=decide_waiting)
    upkeep = Upkeep()
    upkeep.add("sending what was granted", dispatcher.tick, seconds=settings.dispatch_seconds)
    # Apart, since a source that answers slowly must not hold up what was granted.
    slow = Upkeep()
    slow.add("watching", lambda: watch_all(registry, settings, utc_now()), seconds=settings.watch_seconds)
    for each in (upkeep, slow):
        each.start()
    try:
        yield dispatcher
    finally:
        for each in (upkeep, slow):
            each.stop()
        registry.database.close()
