"""Telling at work: beside the dispatcher, in threads of its own, so that no slow receiver delays a launch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from base.settings import Settings
from deployments.notices.courier import Courier, make_routes
from registry.store import Registry
from serving.operation.upkeep import Upkeep

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 20.0


def tell_once(registry: Registry, settings: Settings, *, seconds: float = _PATIENCE_SECONDS) -> bool:
    """Tell what happened since the last time, for at most so long; say whether all has been tried."""
    courier = Courier(registry, make_routes(settings))
    courier.tick()
    return courier.wait(seconds)


@contextmanager
def telling(registry: Registry, settings: Settings) -> Iterator[Courier]:
    """Tell what happens for as long as the context lasts."""
    courier = Courier(registry, make_routes(settings))
    upkeep = Upkeep()
    upkeep.add("telling what happened", courier.tick, seconds=_LOOK_SECONDS)
    upkeep.start()
    try:
        yield courier
    finally:
        upkeep.stop()
        # What is under way has a moment to arrive; what does not is sent again when its claim has passed.
        courier.wait(1.0)
