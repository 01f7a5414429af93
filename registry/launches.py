"""Launches: trainings that were granted, from the grant to their end; at most one of a pipeline is open at a time.

A launch is ``waiting`` until somebody holds it and hands it to Prefect (``sent``); the run that it becomes marks it
``begun`` in the transaction in which it begins, and ``ended`` in the one in which it ends. What never came to a run is
``dead``. The column ``open_for``, unique and empty at the end, is what makes two open ones impossible.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, or_, select

from base.documents import as_document, as_text
from base.errors import ArgumentError, EverfitError
from base.times import parse_moment
from registry.tables import Launch, Run, TriggerRow

WAITING, SENT, BEGUN, ENDED, DEAD = "waiting", "sent", "begun", "ended", "dead"
_SEQUEL = "sequel"
_LONGEST_TROUBLE = 500
_LONGEST_HOLD = timedelta(minutes=5)
_OPEN = select(Launch).where(Launch.open_for == bindparam("pipeline"))


class HoldLost(EverfitError):
    """Another sender has taken the launch over, since this one was silent for too long, or it is sent already."""

    def __init__(self, launch: str) -> None:
        super().__init__(f"launch {launch} is held by another sender now, or has been sent; this one leaves it alone")
        self.launch = launch


class LaunchClosed(EverfitError):
    """The launch has come to its end, or another run has begun it."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(
            f"launch {launch.id} of {launch.pipeline!r} {describe_launch(launch)}; it begins no second run"
        )
        self.launch = launch


def grant_launch(session: Session, trigger: TriggerRow, *, now: datetime, not_before: datetime | None = None) -> Launch:
    """Open a launch for a trigger; the database refuses a second open one of the same pipeline."""
    snapshot = trigger.payload.get("snapshot")
    launch = Launch(
        id=f"l-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        pipeline=trigger.pipeline,
        trigger=trigger.id,
        kind=trigger.kind,
        reason=trigger.reason,
        priority=trigger.priority,
        as_of=trigger.as_of,
        # Only a person chooses an earlier snapshot; what a webhook says of one is its sender's affair.
        parameters={"snapshot": snapshot} if trigger.kind == "person" and snapshot else {},
        open_for=trigger.pipeline,
        not_before=not_before,
        created_at=now,
    )
    session.add(launch)
    session.flush()
    return launch


def find_open(session: Session, pipeline: str) -> Launch | None:
    """Return the pipeline's launch that has not ended, or None."""
    return session.exec(_OPEN, params={"pipeline": pipeline}).first()


def find_launch(session: Session, launch_id: str) -> Launch:
    """Return a launch by its id.

    Raises
    ------
    ArgumentError
        If there is none.
    """
    found = session.get(Launch, launch_id)
    if found is None:
        raise ArgumentError(f"there is no launch {launch_id!r} in this registry; `everfit triggers list` names them")
    return found


def list_open(session: Session) -> list[Launch]:
    """List the launches that have not ended, the most urgent first."""
    query = select(Launch).where(col(Launch.open_for).is_not(None))
    return list(session.exec(query.order_by(col(Launch.priority).desc(), col(Launch.created_at))))


def list_launches(session: Session, *, pipeline: str | None = None, limit: int = 50) -> list[Launch]:
    """List launches, newest first."""
    query = select(Launch).order_by(col(Launch.created_at).desc(), col(Launch.id).desc()).limit(limit)
    return list(session.exec(query if pipeline is None else query.where(Launch.pipeline == pipeline)))


def take_over(session: Session, launch: Launch, trigger: TriggerRow) -> None:
    """Let a launch that has not begun answer one more trigger: the more urgent word and the later data count.

    Without ``as_of`` a training sees all there is, which is later than any moment.
    """
    if trigger.priority > launch.priority:
        launch.priority, launch.trigger = trigger.priority, trigger.id
        launch.kind, launch.reason = trigger.kind, trigger.reason
    # Set only where it changes: a storm goes into one launch, and each setting would be looked at and written.
    if (as_of := _later(launch.as_of, trigger.as_of)) != launch.as_of:
        launch.as_of = as_of
    if trigger.kind == "person" and launch.not_before is not None:
        launch.not_before = None
    session.add(launch)


def add_sequel(session: Session, launch: Launch, trigger: TriggerRow, *, not_before: datetime | None = None) -> None:
    """Let another launch follow when this one ends, for what came too late to be in it; one is enough for all."""
    before: dict[str, Any] | None = launch.parameters.get(_SEQUEL)
    sequel = {
        "trigger": trigger.id,
        "kind": trigger.kind,
        "reason": trigger.reason,
        "priority": trigger.priority,
        "as_of": None if trigger.as_of is None else trigger.as_of.isoformat(),
        "not_before": None if not_before is None else not_before.isoformat(),
    }
    if before is not None:
        moments = [None if each["as_of"] is None else parse_moment(each["as_of"]) for each in (before, sequel)]
        as_of = _later(*moments)
        most_urgent = sequel if sequel["priority"] > before["priority"] else before
        sequel = most_urgent | {"as_of": None if as_of is None else as_of.isoformat()}
    launch.parameters = as_document({**launch.parameters, _SEQUEL: sequel})
    session.add(launch)
    session.flush()


def find_sequel(launch: Launch) -> dict[str, Any] | None:
    """Return what follows when a launch ends: trigger, kind, reason, priority, as_of; None where nothing does."""
    return launch.parameters.get(_SEQUEL)


def hold_next(session: Session, holder: str, *, now: datetime, seconds: float) -> Launch | None:
    """Take the most urgent launch that is to be sent, for so many seconds; None where there is none.

    What waits for a later hour, is held by another sender, or belongs to a pipeline whose run is under way and renews
    its lease, is passed over.
    """
    under_way = select(Run.under_way).where(col(Run.under_way).is_not(None), col(Run.lease_until) > now)
    query = (
        select(Launch)
        .where(
            Launch.state == WAITING,
            col(Launch.open_for).is_not(None),
            or_(col(Launch.not_before).is_(None), col(Launch.not_before) <= now),
            or_(
                col(Launch.held_until).is_(None),
                col(Launch.held_until) <= now,
                col(Launch.held_until) > now + _LONGEST_HOLD,
                Launch.holder == holder,
            ),
            col(Launch.pipeline).not_in(under_way),
        )
        .order_by(col(Launch.priority).desc(), col(Launch.created_at))
        .limit(1)
    )
    launch = session.exec(query).first()
    if launch is None:
        return None
    launch.holder, launch.held_until = holder, now + timedelta(seconds=seconds)
    session.add(launch)
    session.flush()
    return launch


def is_hold_over(held_until: datetime, now: datetime) -> bool:
    """Tell whether a hold has run out; one that is too long was begun before the clock was set back."""
    return not now < held_until <= now + _LONGEST_HOLD


def mark_sent(session: Session, launch_id: str, *, flow_run: str, now: datetime, holder: str | None = None) -> Launch:
    """Record that Prefect has taken a launch as a flow run, which is not yet a run.

    Raises
    ------
    HoldLost
        If another *holder* has it, or it has begun or ended meanwhile.
    """
    launch = find_launch(session, launch_id)
    is_held_elsewhere = launch.holder is not None and launch.holder != holder
    if launch.open_for is None or launch.state == BEGUN or (holder is not None and is_held_elsewhere):
        raise HoldLost(launch_id)
    launch.state, launch.flow_run, launch.sent_at = SENT, flow_run, now
    launch.holder, launch.held_until, launch.trouble = None, None, ""
    launch.n_sent += 1
    session.add(launch)
    session.flush()
    return launch


def release(session: Session, launch_id: str, *, now: datetime, trouble: str, seconds: float = 0) -> Launch:
    """Give a launch back that could not be sent, or never began, to be sent again after so many seconds."""
    launch = find_launch(session, launch_id)
    if launch.open_for is None or launch.state == BEGUN:
        return launch
    launch.state, launch.holder, launch.flow_run = WAITING, None, None
    launch.held_until = now + timedelta(seconds=seconds)
    launch.trouble = as_text(trouble)[:_LONGEST_TROUBLE]
    session.add(launch)
    session.flush()
    return launch


def mark_begun(session: Session, launch_id: str, run_id: str, *, now: datetime) -> Launch:
    """Record, in the transaction that begins it, which run a launch has become; the same run again changes nothing.

    The caller has made sure that no other run of the pipeline lives.

    Raises
    ------
    LaunchClosed
        If the launch has ended.
    """
    launch = find_launch(session, launch_id)
    if launch.open_for is None:
        raise LaunchClosed(launch)
    launch.state, launch.run_id = BEGUN, run_id
    launch.begun_at = launch.begun_at or now
    launch.holder, launch.held_until = None, None
    session.add(launch)
    session.flush()
    return launch


def reopen(session: Session, launch_id: str, *, now: datetime, trouble: str) -> Launch:
    """Let a launch whose run died be sent again: the run goes on at the step that broke."""
    launch = find_launch(session, launch_id)
    if launch.state != BEGUN or launch.open_for is None:
        return launch
    run = None if launch.run_id is None else session.get(Run, launch.run_id)
    if run is not None and run.under_way is not None:
        # Nobody renews it any more; what waits for its end need not wait.
        run.lease_until = now
        session.add(run)
    launch.state, launch.holder, launch.held_until, launch.flow_run = WAITING, None, None, None
    launch.trouble = as_text(trouble)[:_LONGEST_TROUBLE]
    session.add(launch)
    session.flush()
    return launch


def end_launch(session: Session, launch_id: str, outcome: str, *, now: datetime) -> Launch | None:
    """Close a launch, and open what is to follow it; return that."""
    return _close(session, find_launch(session, launch_id), ENDED, outcome, now)


def end_launch_of(session: Session, run_id: str, outcome: str, *, now: datetime) -> Launch | None:
    """Close the open launch that a run was, if any, in the transaction that ends the run."""
    query = select(Launch).where(Launch.run_id == run_id, col(Launch.open_for).is_not(None))
    launch = session.exec(query).first()
    return None if launch is None else _close(session, launch, ENDED, outcome, now)


def give_up(session: Session, launch_id: str, *, now: datetime, trouble: str) -> Launch | None:
    """Close a launch that comes to no run, or whose run died; open what is to follow it, and return that."""
    return _close(session, find_launch(session, launch_id), DEAD, trouble, now)


def describe_launch(launch: Launch) -> str:
    """Say in words where a launch is, as the rest of a sentence that begins with it."""
    if launch.state == BEGUN:
        return f"was begun by run {launch.run_id}"
    if launch.state in (ENDED, DEAD):
        return f"has ended: {launch.outcome}"
    if launch.state == SENT:
        return f"is with Prefect as flow run {launch.flow_run}"
    return "waits to begin" + (
        "" if launch.not_before is None else f", not before {launch.not_before:%Y-%m-%d %H:%M} UTC"
    )


def _close(session: Session, launch: Launch, state: str, outcome: str, now: datetime) -> Launch | None:
    if launch.open_for is None:
        return None
    launch.state, launch.outcome, launch.ended_at = state, as_text(outcome)[:_LONGEST_TROUBLE], now
    launch.open_for, launch.holder, launch.held_until = None, None, None
    session.add(launch)
    session.flush()
    sequel = find_sequel(launch)
    trigger = None if sequel is None else session.get(TriggerRow, sequel["trigger"])
    if sequel is None or trigger is None:
        return None
    not_before = None if sequel["not_before"] is None else parse_moment(sequel["not_before"])
    follower = grant_launch(session, trigger, now=now, not_before=not_before)
    follower.as_of = None if sequel["as_of"] is None else parse_moment(sequel["as_of"])
    trigger.launch = follower.id
    session.add_all([follower, trigger])
    session.flush()
    return follower


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)
