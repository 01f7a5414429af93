"""The controller: a thread of each replica that tells what it counts; one replica at a time looks and decides."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.background import Background
from base.times import utc_now
from registry.rollouts import take_looker
from registry.store import Registry
from registry.tables import Rollout, RolloutReplica
from serving.loading.follower import Follower
from serving.rollout.counts import NO_COUNTS, Counters
from serving.rollout.looker_process import LookerProcess
from serving.rollout.running import RunningRollout

if TYPE_CHECKING:
    from serving.rollout.looking import LookMemory

_log = logging.getLogger(__name__)

# A replica that says nothing new is heard of this often all the same.
_HEARTBEAT_SECONDS = 15.0
# Looking may take this part of one core, however large the log is.
_MOST_SHARE = 0.1
_LEASE_LOOKS = 5
_SHORTEST_LEASE_SECONDS = 5.0


class Controller:
    """Reports this process's part of every running rollout, and looks at the evidence while it holds the lease.

    The registry is asked for nothing while no rollout runs. One that is away changes nothing: the shares stay.

    Parameters
    ----------
    home : Path
        Where the prediction log lies.
    seconds : float
        How often to look.
    count_shadows : callable, optional
        Gives, of a model and a version in its shadow, rows by what came of them.
    looker : LookerProcess, optional
        Looks in this one's stead, so that no request waits for it.
    """

    def __init__(
        self,
        registry: Registry,
        home: Path,
        follower: Follower,
        counters: Counters,
        *,
        seconds: float,
        count_shadows: Callable[[str, int], Mapping[str, int]] = lambda _model, _number: {},
        looker: LookerProcess | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._home = home
        self._follower = follower
        self._counters = counters
        self._seconds = seconds
        self._count_shadows = count_shadows
        self._looker = looker
        self._now = now
        self.replica = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._followed: dict[str, RunningRollout] = {}
        self._memories: dict[str, LookMemory] = {}
        self._reported: dict[str, tuple[object, float]] = {}
        self._next_look: dict[str, float] = {}
        self._trouble: str | None = None
        self._background = Background(self._work, name="everfit-rollout")

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._background.start()

    def stop(self) -> None:
        """Stop, tell the last counts, and leave the lease to whoever comes next."""
        has_ended = self._background.stop()
        if self._looker is not None:
            self._looker.stop()
        if has_ended:
            # A registry that is away learns nothing more; the log has what was answered.
            with suppress(Exception):
                self._leave()

    def tick(self) -> None:
        """Report and look once, at every rollout that is followed."""
        rollouts = {each.state.id: each for each in self._follower.rollouts.values()}
        for name, left in list(self._followed.items()):
            if name not in rollouts:
                # What was answered between the last look and the end belongs to the rollout, too.
                self._report(left)
                for known in (self._followed, self._memories, self._reported, self._next_look):
                    known.pop(name, None)
        self._followed.update(rollouts)
        self._counters.forget_all_but([*rollouts])
        if self._looker is not None:
            self._looker.watch({each.state.model for each in rollouts.values()})
        for rollout in rollouts.values():
            self._report(rollout)
            if self._looker is not None:
                continue
            if time.monotonic() >= self._next_look.get(rollout.state.id, 0.0) and self._take_lease(rollout.state):
                self._look(rollout)

    def _report(self, rollout: RunningRollout) -> None:
        name = rollout.state.id
        counts = self._counters.snapshot(name)
        if rollout.state.kind == "shadow":
            for number in rollout.challengers:
                if shadowed := self._count_shadows(rollout.state.model, number):
                    counts[str(number)] = {**NO_COUNTS, **counts.get(str(number), {}), "shadow": dict(shadowed)}
        refused = {str(number): reason for number, reason in rollout.refused.items()}
        said = (rollout.state.revision, counts, refused)
        before, at = self._reported.get(name, (None, 0.0))
        if said == before and time.monotonic() - at < _HEARTBEAT_SECONDS:
            return
        self._write_report(rollout, counts, refused)
        self._reported[name] = (said, time.monotonic())

    def _write_report(self, rollout: RunningRollout, counts: Mapping[str, Any], refused: Mapping[str, str]) -> None:
        with self._registry.database.write() as session:
            session.merge(
                RolloutReplica(
                    rollout_id=rollout.state.id,
                    replica=self.replica,
                    revision=rollout.state.revision,
                    refused=dict(refused),
                    counts=dict(counts),
                    heard_at=self._now(),
                )
            )

    def _take_lease(self, rollout: Rollout) -> bool:
        now = self._now()
        until = now + timedelta(seconds=max(_LEASE_LOOKS * self._seconds, _SHORTEST_LEASE_SECONDS))
        with self._registry.database.write() as session:
            return take_looker(session, rollout, self.replica, until=until, now=now)

    def _look(self, rollout: RunningRollout) -> None:
        state, began = rollout.state, time.monotonic()
        scorers = {number: served.scorer for number, served in rollout.challengers.items()}
        if (champion := self._follower.find(state.model)) is not None:
            scorers[champion.version.number] = champion.scorer
        # Looking needs pandas, which a service without a rollout does not.
        from serving.rollout.looking import LookMemory, look_at_rollout

        memory = self._memories.setdefault(state.id, LookMemory())
        try:
            look = look_at_rollout(self._registry, self._home, state.id, scorers, now=self._now(), memory=memory)
        except Exception:
            # Half a look must not be built upon.
            self._memories.pop(state.id, None)
            raise
        finally:
            took = time.monotonic() - began
            self._next_look[state.id] = time.monotonic() + took / _MOST_SHARE
        if look is not None and look.rollout.revision != state.revision:
            _log.info("model %r: %s %s: %s", state.model, state.kind, state.id, look.decision.reason)

    def _leave(self) -> None:
        for rollout in self._follower.rollouts.values():
            self._report(rollout)
            now = self._now()
            with self._registry.database.write() as session:
                take_looker(session, rollout.state, self.replica, until=now, now=now)

    def _work(self) -> None:
        while not self._background.sleep(self._seconds):
            try:
                self.tick()
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                if told != self._trouble:
                    _log.warning("the rollout stays as it is, this look failed: %s", told)
                self._trouble = told
            else:
                self._trouble = None
