"""All that stands around the service when it runs: access, limits, counts, metrics, traces; put together here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from base.settings import Settings
from registry.store import Registry
from serving.access.gatekeeper import Gatekeeper
from serving.access.keyring import Keyring
from serving.access.mode import describe_access, is_access_on
from serving.access.rates import RateLimiter
from serving.access.routes import Routes
from serving.operation.exchange import App
from serving.operation.families import Family
from serving.operation.measures import (
    Watched,
    measure_labels,
    measure_log,
    measure_models,
    measure_process,
    measure_requests,
    measure_windows,
)
from serving.operation.request_scope import RequestScope
from serving.operation.tallies import Tallies
from serving.operation.tracing import stop_tracing, switch_tracing
from serving.operation.upkeep import Upkeep
from serving.operation.worker_numbers import WorkerNumbers

if TYPE_CHECKING:
    from serving.service import Service

_log = logging.getLogger(__name__)

# Revoked means refused within two seconds, however seldom the aliases are looked at.
_SLOWEST_TOKENS_SECONDS = 1.0
_NUMBERS_SECONDS = 1.0
_WINDOWS_SECONDS = 15.0
_LONGEST_LOAD_SECONDS = 120.0


class Operation:
    """What one service process is operated by.

    Parameters
    ----------
    service : Service
        What is counted and measured.
    numbers : Path, optional
        Folder in which the workers of one service leave their numbers; default: there is only this one.
    is_replacement : bool
        Whether other workers answer already.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        service: Service,
        *,
        numbers: Path | None = None,
        is_replacement: bool = False,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._service = service
        self._is_replacement = is_replacement
        self.tallies = Tallies()
        self.keyring = Keyring()
        self._watched = Watched()
        self._numbers = WorkerNumbers(self._measure, folder=numbers)
        self._upkeep = Upkeep()
        self._upkeep.add(
            "reading the tokens",
            lambda: self.keyring.refresh(registry),
            seconds=min(settings.follow_seconds, _SLOWEST_TOKENS_SECONDS),
        )
        self._upkeep.add(
            "reading the monitoring windows", lambda: self._watched.refresh(registry), seconds=_WINDOWS_SECONDS
        )
        if numbers is not None:
            self._upkeep.add("leaving this worker's numbers", self._numbers.leave, seconds=_NUMBERS_SECONDS)

    def wrap(self, app: App) -> RequestScope:
        """Put the layers around an application: the outermost accounts for all, the next one lets in."""
        settings = self._settings
        limiter = None
        if settings.rate_per_second is not None:
            burst = settings.rate_burst or max(1, round(2 * settings.rate_per_second))
            limiter = RateLimiter(per_second=settings.rate_per_second, burst=burst)
        gate = Gatekeeper(
            app,
            tallies=self.tallies,
            keyring=self.keyring if is_access_on(settings) else None,
            limiter=limiter,
            most_in_flight=settings.max_in_flight,
            most_body_bytes=settings.max_body_bytes,
            most_stream_bytes=settings.max_stream_bytes,
        )
        return RequestScope(
            gate,
            tallies=self.tallies,
            routes=Routes(self.tallies),
            logged=settings.access_log,
            slow_seconds=settings.slow_seconds,
            tracing=switch_tracing(settings.tracing),
        )

    async def start(self) -> None:
        """Read the tokens, say who is let in, and keep both up to date.

        A worker in the place of one that died takes no connection from the others before its models are loaded.
        """
        try:
            self.keyring.refresh(self._registry)
        except Exception as error:
            _log.warning("the tokens cannot be read yet: %s: %s", type(error).__name__, error)
        _log.info("%s", describe_access(self._settings, n_tokens=len(self.keyring)))
        self._upkeep.start()
        give_up = monotonic() + _LONGEST_LOAD_SECONDS
        while self._is_replacement and not self._service.follower.has_looked and monotonic() < give_up:
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Leave the last numbers, send the last spans and end."""
        self._upkeep.stop()
        try:
            self._numbers.leave()
        except OSError as error:
            _log.warning("the last numbers could not be left: %s", error)
        stop_tracing()

    def collect(self) -> list[Family]:
        """Measure the service: this worker now, and what the others have left."""
        return self._numbers.collect()

    def _measure(self) -> Sequence[Family]:
        labels = self._service.label_accounts
        return [
            *([] if labels is None else measure_labels(labels)),
            *measure_requests(self.tallies),
            *measure_log(self._service.log.accounts),
            *measure_models(self._service.follower),
            *measure_windows(self._watched),
            *measure_process(),
        ]
