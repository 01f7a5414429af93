"""The desk: takes every wish for a training, however it arrives, and has it ruled on in the same transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from sqlmodel import Session

from base.database import DatabaseAway, DatabaseBusy, insert_row
from base.fingerprint import digest_document
from base.times import as_utc
from base.triggers_spec import TriggersSpec
from monitoring.arbiter import ARBITER_VERSION, LIMITS, Ruling, Wish, rule
from monitoring.circumstances import find_circumstances
from monitoring.requests import Outcome, Taken, TriggerRequest
from registry.launches import BEGUN, add_sequel, give_up, grant_launch, mark_sent, take_over
from registry.ledger import Rule, link_decision
from registry.situations import Situation, find_situation
from registry.store import Registry
from registry.tables import Launch, TriggerRow
from registry.triggers import (
    MERGED,
    STARTED,
    SUPPRESSED,
    list_waiting,
    make_trigger,
    read_triggers_spec,
    reopen_triggers,
)
from registry.triggers import WAITING as UNDECIDED

__all__ = ["Taken", "TriggerRequest", "decide_waiting", "keep_asking", "take", "take_within"]

_STATES: dict[Outcome, str] = {"start": STARTED, "merge": MERGED, "suppress": SUPPRESSED}
_OUTCOMES: dict[str, Outcome] = {state: outcome for outcome, state in _STATES.items()}

# A turn at the database that did not come in half a minute is asked for again, so long in all.
_PATIENCE_SECONDS = 300.0
_Result = TypeVar("_Result")


def take(
    registry: Registry,
    request: TriggerRequest,
    *,
    spec: TriggersSpec | None = None,
    now: datetime,
    carrier: str | None = None,
    n_new_labels: int | None = None,
) -> Taken:
    """File a wish, have it ruled on, write the ruling into the ledger and grant the launch: one transaction.

    The same key again changes nothing but a count, and gives the same answer. Nobody hears of a database that is busy,
    or of a connection that is lost: it is asked again.

    Parameters
    ----------
    spec : TriggersSpec, optional
        What the definition says; default: that of the version that was registered or trained last.
    carrier : str, optional
        The flow run that brings the wish and is ready to train itself.
    n_new_labels : int, optional
        How many labels came since the last training, where somebody counted.

    Raises
    ------
    ArgumentError
        If no *spec* is given and no pipeline of that name is registered.
    """

    def work() -> Taken:
        # Before the turn to write, which others wait for.
        row = _as_row(request, as_utc(now))
        with registry.database.write() as session:
            return _take(session, request, row, spec, carrier=carrier, n_new_labels=n_new_labels)

    return keep_asking(work)


def take_within(
    session: Session,
    request: TriggerRequest,
    *,
    spec: TriggersSpec | None = None,
    now: datetime,
    carrier: str | None = None,
    n_new_labels: int | None = None,
) -> Taken:
    """Do what :func:`take` does, inside the caller's own writing transaction: with the window that raised an alarm."""
    row = _as_row(request, as_utc(now))
    return _take(session, request, row, spec, carrier=carrier, n_new_labels=n_new_labels)


def decide_waiting(registry: Registry, now: datetime, *, pipeline: str | None = None) -> list[Taken]:
    """Rule on the triggers that were filed and not ruled on, the most urgent first, each in its own transaction.

    A trigger waits where its filing and its ruling were two transactions and the process died between, and where the
    launch that it had gone into gave way.
    """
    with registry.database.read() as session:
        waiting = [(row.pipeline, row.key) for row in list_waiting(session, pipeline=pipeline)]
    taken = []
    for name, key in waiting:

        def work(name: str = name, key: str = key) -> Taken | None:
            with registry.database.write() as session:
                situation = find_situation(session, name, key=key)
                row = situation.known
                if row is None or row.state != UNDECIDED:
                    return None
                spec = read_triggers_spec(session, name, situation.version)
                return _decide(session, row, _as_wish(row), situation, spec, as_utc(now), is_new=False)

        if (decided := keep_asking(work)) is not None:
            taken.append(decided)
    return taken


def _take(
    session: Session,
    request: TriggerRequest,
    row: TriggerRow,
    spec: TriggersSpec | None,
    *,
    carrier: str | None,
    n_new_labels: int | None,
) -> Taken:
    situation = find_situation(session, row.pipeline, key=row.key)
    spec = spec or read_triggers_spec(session, row.pipeline, situation.version)
    is_new, now = situation.known is None, row.received_at
    if situation.known is not None:
        row = situation.known
        row.n_duplicates += 1
        session.add(row)
        if row.state != UNDECIDED:
            return _as_before(row)
    elif request.priority is None:
        row.priority = spec.priority_of(request.kind)
    wish = _as_wish(row, is_exact=request.is_exact, can_follow=request.can_follow, blocked=request.blocked)
    return _decide(
        session,
        row,
        wish,
        situation,
        spec,
        now,
        is_new=is_new,
        carrier=carrier,
        labels=n_new_labels,
        evidence=request.evidence,
    )


def _decide(
    session: Session,
    row: TriggerRow,
    wish: Wish,
    situation: Situation,
    spec: TriggersSpec,
    now: datetime,
    *,
    is_new: bool,
    carrier: str | None = None,
    labels: int | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> Taken:
    seen = find_circumstances(
        session,
        row.pipeline,
        situation=situation,
        now=now,
        spec=spec,
        moment=wish.moment,
        caused_by=row.caused_by,
        n_new_labels=labels,
    )
    ruling = rule(wish, seen, spec)
    launch = _find_launch(session, row, ruling, situation.launch, now, is_open=seen.open_launch is not None)
    carries = (
        carrier is not None
        and launch is not None
        and seen.under_way is None
        and ruling.outcome != "suppress"
        and (launch.not_before is None or launch.not_before <= now)
    )
    if carries and launch is not None and carrier is not None:
        mark_sent(session, launch.id, flow_run=carrier, now=now)
    row.state, row.ruling, row.decided_at = _STATES[ruling.outcome], ruling.reason, now
    row.launch = None if launch is None else launch.id
    decision = link_decision(
        situation.head,
        kind="trigger",
        pipeline=row.pipeline,
        outcome=ruling.outcome,
        reason=ruling.reason,
        actor=row.actor,
        evidence={
            **(evidence or {}),
            "trigger": row.id,
            "launch": row.launch,
            "into": ruling.into,
            "not_before": ruling.not_before,
            "payload": digest_document(row.payload) if row.payload else None,
        },
        rule=Rule("arbiter", ARBITER_VERSION, spec.model_dump(mode="json", include=set(LIMITS))),
        inputs={"wish": wish.model_dump(mode="json"), "circumstances": seen.model_dump(mode="json", exclude_none=True)},
    )
    row.decision = decision.sequence
    insert_row(session, decision)
    if is_new:
        insert_row(session, row)
    return Taken(row.id, is_new, ruling.outcome, ruling.reason, row.launch, carries=carries, into=ruling.into)


def _find_launch(
    session: Session, row: TriggerRow, ruling: Ruling, launch: Launch | None, now: datetime, *, is_open: bool
) -> Launch | None:
    """Grant the launch that a ruling starts, or let the open one take the trigger in."""
    if ruling.outcome == "start":
        return _grant(session, row, ruling, launch, now)
    if ruling.outcome == "suppress" or launch is None or not is_open:
        return None
    if ruling.follows:
        add_sequel(session, launch, row, not_before=ruling.not_before)
    elif launch.state != BEGUN:
        take_over(session, launch, row)
    return launch


def _grant(session: Session, row: TriggerRow, ruling: Ruling, before: Launch | None, now: datetime) -> Launch:
    if before is not None and before.state == BEGUN:
        follower = give_up(session, before.id, now=now, trouble=f"the process of run {before.run_id} died")
        if follower is not None:
            take_over(session, follower, row)
            return follower
    elif before is not None:
        reopen_triggers(session, before)
        give_up(session, before.id, now=now, trouble="it gave way to what a person asked for")
    return grant_launch(session, row, now=now, not_before=ruling.not_before)


def _as_row(request: TriggerRequest, now: datetime) -> TriggerRow:
    return make_trigger(
        pipeline=request.pipeline,
        kind=request.kind,
        key=request.key,
        reason=request.reason,
        actor=request.actor,
        priority=request.priority or 0,
        payload=request.payload,
        as_of=None if request.as_of is None else as_utc(request.as_of),
        occurred_at=request.occurred_at or now,
        caused_by=request.caused_by,
        now=now,
    )


def _as_wish(row: TriggerRow, *, is_exact: bool = False, can_follow: bool = True, blocked: str = "") -> Wish:
    return Wish(
        kind=row.kind,
        reason=row.reason,
        occurred_at=row.occurred_at,
        as_of=row.as_of,
        priority=row.priority,
        is_exact=is_exact,
        can_follow=can_follow,
        blocked=blocked,
    )


def _as_before(row: TriggerRow) -> Taken:
    return Taken(row.id, False, _OUTCOMES[row.state], row.ruling, row.launch)


def keep_asking(work: Callable[[], _Result]) -> _Result:
    """Do a transaction that changes nothing when it is done twice, and do it again where the database was busy or lost.

    Raises
    ------
    DatabaseBusy
        If the turn did not come for five minutes.
    DatabaseAway
        If the connection was lost again and again, for as long.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return work()
        except (DatabaseBusy, DatabaseAway):
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.5))
