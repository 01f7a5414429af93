"""The dispatcher at work: in a thread of `everfit up`, or as a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from base.settings import Settings
from base.times import utc_now
from deployments.launching.dispatcher import Dispatcher
from deployments.launching.sender import PrefectSender
from deployments.notices.duty import tell_once, telling
from monitoring.desk import decide_waiting
from monitoring.watches.watching import watch_all
from registry.launches import WAITING, list_open
from registry.store import Registry, open_registry
from registry.tables import Launch
from serving.operation.upkeep import Upkeep

_log = logging.getLogger(__name__)


def dispatch_once(settings: Settings) -> tuple[list[Launch], list[Launch]]:
    """Send what waits and look after what was sent; return what was sent, and what waits still."""
    registry = open_registry(settings)
    try:
        sent = Dispatcher(registry, PrefectSender(), decide=decide_waiting).tick()
        tell_once(registry, settings)
        with registry.database.read() as session:
            return sent, [launch for launch in list_open(session) if launch.state == WAITING]
    finally:
        registry.database.close()


class _Watcher:
    """Watches all pipelines again and again, and says once what keeps one from being watched."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._told: dict[str, str] = {}

    def look(self) -> None:
        found = watch_all(self._registry, self._settings, utc_now())
        troubles = {watched.pipeline: watched.trouble for watched in found if watched.trouble}
        for pipeline, trouble in troubles.items():
            if self._told.get(pipeline) != trouble:
                _log.warning("pipeline %r is not watched: %s", pipeline, trouble)
        self._told = troubles


@contextmanager
def dispatching(settings: Settings) -> Iterator[Dispatcher]:
    """Send what is granted for as long as the context lasts; Prefect's client of this process says to which server."""
    registry = open_registry(settings)
    dispatcher = Dispatcher(registry, PrefectSender(), decide=decide_waiting)
    upkeep = Upkeep()
    upkeep.add("sending what was granted", dispatcher.tick, seconds=settings.dispatch_seconds)
    # Apart, since a source that answers slowly must not hold up what was granted.
    slow = Upkeep()
    slow.add("watching", _Watcher(registry, settings).look, seconds=settings.watch_seconds)
    for each in (upkeep, slow):
        each.start()
    try:
        with telling(registry, settings):
            yield dispatcher
    finally:
        for each in (upkeep, slow):
            each.stop()
        registry.database.close()
