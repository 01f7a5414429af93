"""The dispatcher: sends what was granted, and sees to it that it begins."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable
from datetime import datetime, timedelta

from base.times import as_utc, utc_now
from deployments.launching.sender import NotSent, Sender
from deployments.launching.sweeping import Sweeper
from registry.launches import WAITING, HoldLost, hold_next, is_hold_over, list_open, mark_sent, release
from registry.store import Registry
from registry.tables import Launch

_log = logging.getLogger(__name__)

# A send takes milliseconds; who is silent for so long has died, and another one sends.
HOLD_SECONDS = 30.0
# A server that does not answer is asked again so soon: it may be starting.
_NEXT_TRY_SECONDS = 2.0


class Dispatcher:
    """Sends launches for as long as its process lives; any number of dispatchers may work side by side.

    Parameters
    ----------
    sender : Sender
        Usually :class:`deployments.launching.sender.PrefectSender`.
    decide : callable
        Rules on the triggers that were filed by a process that died before the arbiter had ruled.
    now : callable
        The clock.
    """

    def __init__(
        self,
        registry: Registry,
        sender: Sender,
        *,
        decide: Callable[[Registry, datetime], object],
        sweep_seconds: float = 5.0,
        patience: timedelta = timedelta(minutes=10),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._sender = sender
        self._decide = decide
        self._now = now
        self._sweep_every = timedelta(seconds=sweep_seconds)
        self._sweep_at: datetime | None = None
        self._sweeper = Sweeper(registry, sender, patience=patience)
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"

    def tick(self) -> list[Launch]:
        """Send all that is to be sent now, sweep when it is time, and return what was sent."""
        sent = self.send_waiting()
        now = self._now()
        if self._sweep_at is None or now >= self._sweep_at or self._sweep_at - now > self._sweep_every:
            # The last of these: a clock that was set back must not put the next sweep off for hours.
            self._sweep_at = now + self._sweep_every
            self._decide(self._registry, now)
            self._sweeper.sweep(now)
            sent += self.send_waiting()
        return sent

    def send_waiting(self) -> list[Launch]:
        """Send every launch whose time has come, the most urgent first."""
        sent: list[Launch] = []
        while (launch := self._hold()) is not None:
            try:
                flow_run = self._sender.send(launch)
            except NotSent as error:
                if str(error) != launch.trouble:
                    _log.warning("launch %s of %r waits: %s", launch.id, launch.pipeline, error)
                self._give_back(launch, str(error))
                continue
            try:
                with self._registry.database.write() as session:
                    sent.append(mark_sent(session, launch.id, flow_run=flow_run, now=self._now(), holder=self.name))
            except HoldLost:
                # Its run was so quick that it has begun already, or another dispatcher has sent the same flow run.
                continue
            _log.info("launch %s of %r is flow run %s", launch.id, launch.pipeline, flow_run)
        return sent

    def _hold(self) -> Launch | None:
        with self._registry.database.read() as session:
            if not any(self._is_due(launch, self._now()) for launch in list_open(session)):
                return None
        with self._registry.database.write() as session:
            return hold_next(session, self.name, now=self._now(), seconds=HOLD_SECONDS)

    def _give_back(self, launch: Launch, trouble: str) -> None:
        with self._registry.database.write() as session:
            release(session, launch.id, now=self._now(), trouble=trouble, seconds=_NEXT_TRY_SECONDS)

    def _is_due(self, launch: Launch, now: datetime) -> bool:
        if launch.state != WAITING or (launch.not_before is not None and as_utc(launch.not_before) > now):
            return False
        # What it holds itself, it did not get sent or written down: the database was lost in between.
        is_mine = launch.holder == self.name
        return is_mine or launch.held_until is None or is_hold_over(as_utc(launch.held_until), now)
