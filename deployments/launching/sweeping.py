"""The sweeper: launches that Prefect took and nobody began, and runs that died, are sent again or given up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlmodel import Session, select

from base.times import as_utc, describe_duration
from deployments.launching.sender import FlowRunStanding, NotSent, Sender
from registry.launches import BEGUN, SENT, give_up, list_open, release, reopen
from registry.ledger import append_decision
from registry.runs import RUNNING, close_dead, is_alive
from registry.store import Registry
from registry.tables import Launch, Run

_log = logging.getLogger(__name__)

MOST_SENT = 3
"""How often a launch is sent before it is given up."""

# A flow run that fails at once would fail at once again: the first wait, doubled each time.
_FIRST_WAIT = timedelta(seconds=5)
# Prefect may have taken a launch whose sender has yet to write that down.
_YOUNG = timedelta(seconds=10)


class Sweeper:
    """Looks after launches that are with Prefect, or have begun.

    Parameters
    ----------
    patience : timedelta
        So long a flow run may wait for a worker before a person should know; so long one may be about to start
        (*pending*) before it counts as lost.
    """

    def __init__(self, registry: Registry, sender: Sender, *, patience: timedelta) -> None:
        self._registry = registry
        self._sender = sender
        self._patience = patience
        self._told: set[str] = set()

    def sweep(self, now: datetime) -> None:
        """Look at every open launch once; one that cannot be judged now is looked at again in the next sweep."""
        with self._registry.database.read() as session:
            launches = list_open(session)
        self._told &= {launch.id for launch in launches}
        for launch in launches:
            try:
                if launch.state == SENT:
                    self._look_at_sent(launch, now)
                elif launch.state == BEGUN:
                    self._look_at_begun(launch, now)
            except NotSent as error:
                _log.info("launch %s of %r is looked at again later: %s", launch.id, launch.pipeline, error)

    def _look_at_sent(self, launch: Launch, now: datetime) -> None:
        if launch.flow_run is None or launch.sent_at is None:
            return
        # After a clock was set back, a launch may have been sent in the future.
        if timedelta(0) <= now - as_utc(launch.sent_at) < _YOUNG:
            return
        found = self._sender.find(launch.flow_run)
        if found.standing == "waiting":
            self._look_at_waiting(launch, found, now)
        elif found.standing in ("starting", "under way"):
            if now - as_utc(found.since or launch.sent_at) > self._patience:
                # A worker took it and died: nobody else may begin it.
                self._sender.cancel(launch.flow_run)
                self._send_again(launch, f"flow run {launch.flow_run} was about to start and never did", now)
        elif found.standing == "cancelled":
            self._change(
                launch, lambda session: self._end(session, launch, "cancelled in Prefect before it began", now)
            )
        elif found.standing != "cancelling":
            what = found.message or "without a word"
            self._send_again(launch, f"flow run {launch.flow_run} is {found.standing} and never began: {what}", now)

    def _look_at_waiting(self, launch: Launch, found: FlowRunStanding, now: datetime) -> None:
        since = found.since or launch.sent_at or now
        waited = now - as_utc(since)
        if waited < self._patience or launch.id in self._told:
            return
        # It stays where it is: a second flow run would wait for the same worker.
        self._told.add(launch.id)
        _log.warning(
            "launch %s of %r waits for a worker since %s; start one with `everfit up` or `prefect worker start`",
            launch.id,
            launch.pipeline,
            describe_duration(timedelta(seconds=round(waited.total_seconds()))),
        )

    def _look_at_begun(self, launch: Launch, now: datetime) -> None:
        with self._registry.database.read() as session:
            run = None if launch.run_id is None else session.get(Run, launch.run_id)
        if run is None or run.status != RUNNING or is_alive(run, now):
            return
        step = run.step or "extract"
        flow_run = run.prefect_run or launch.flow_run
        standing = None if flow_run is None else self._sender.find(flow_run).standing
        if standing in ("cancelling", "cancelled"):
            self._change(
                launch, lambda session: self._end(session, launch, f"cancelled in Prefect at step {step!r}", now)
            )
            return
        self._send_again(launch, f"the process of run {run.id} died at step {step!r}", now)

    def _send_again(self, launch: Launch, trouble: str, now: datetime) -> None:
        def change(session: Session) -> None:
            if launch.n_sent >= MOST_SENT:
                self._end(session, launch, f"{trouble}; it was sent {launch.n_sent} times", now)
                return
            seconds = _FIRST_WAIT.total_seconds() * 2 ** (launch.n_sent - 1)
            if launch.state == BEGUN:
                reopen(session, launch.id, now=now, trouble=trouble)
            else:
                release(session, launch.id, now=now, trouble=trouble, seconds=seconds)
            _log.warning("launch %s of %r is sent again: %s", launch.id, launch.pipeline, trouble)

        self._change(launch, change)

    def _end(self, session: Session, launch: Launch, trouble: str, now: datetime) -> None:
        run = None if launch.run_id is None else session.get(Run, launch.run_id)
        if run is not None and run.status == RUNNING and not is_alive(run, now):
            # It ends the launch as well, and would hold up every later training.
            close_dead(session, run)
        give_up(session, launch.id, now=now, trouble=trouble)
        append_decision(
            session,
            kind="trigger",
            pipeline=launch.pipeline,
            run_id=launch.run_id,
            outcome="give up",
            reason=trouble,
            actor="dispatcher",
            evidence={"launch": launch.id, "trigger": launch.trigger, "flow_run": launch.flow_run},
        )
        _log.error("launch %s of %r is given up: %s", launch.id, launch.pipeline, trouble)

    def _change(self, launch: Launch, change: Callable[[Session], None]) -> None:
        """Change a launch, unless it has moved on since it was looked at."""
        with self._registry.database.write() as session:
            current = session.exec(select(Launch).where(Launch.id == launch.id)).first()
            seen = (launch.state, launch.n_sent, launch.run_id)
            if current is None or (current.state, current.n_sent, current.run_id) != seen:
                return
            change(session)
