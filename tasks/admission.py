"""Admission: whether a flow run trains, goes into another training, or is put aside, whoever sent it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, EverfitError
from base.pipeline import Pipeline
from base.references import Trigger
from base.times import as_utc, utc_now
from monitoring.desk import Taken, TriggerRequest, decide_waiting, take
from monitoring.new_labels import count_new_labels
from registry.launches import BEGUN, DEAD, ENDED, LaunchClosed, describe_launch, find_launch, give_up, release
from registry.runs import RunUnderWay, is_alive
from registry.store import Registry
from registry.tables import Launch, Run
from tasks.run_record import name_actor

if TYPE_CHECKING:
    from prefect import State

_NAMES = {"merge": "Merged", "suppress": "Suppressed", "wait": "Waiting"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a flow run was asked to do; ``launch`` is the granted launch that it carries, where there is one."""

    trigger: Trigger
    reason: str = ""
    as_of: datetime | None = None
    snapshot: str | None = None
    launch: str | None = None


@dataclass(frozen=True)
class FlowRun:
    """The flow run that asks.

    ``is_deployed``: it came by Prefect's schedule, a click or an event; else a person at the keyboard waits for it.
    """

    id: str
    asked_at: datetime
    is_deployed: bool
    attempt: int = 1

    @property
    def key(self) -> str:
        """The idempotency key of what it asks for; a person who presses "retry" asks anew."""
        return f"prefect:{self.id}" + ("" if self.attempt <= 1 else f":{self.attempt}")


@dataclass(frozen=True)
class Admission:
    """The answer: what is trained under which launch, or why nothing is."""

    asked: Asked
    outcome: str
    reason: str
    is_granted: bool = False


def admit(
    registry: Registry, pipeline: Pipeline, asked: Asked, flow_run: FlowRun, *, home: Path, now: datetime
) -> Admission:
    """File what a flow run asks for, have it ruled on, and say whether it trains.

    One that carries a launch was ruled on when that was granted: it trains unless another run has begun the launch,
    or it has ended. Any other files a trigger of its own, dated by when it was to start: one that waited behind a
    training which began later has been answered by that. It takes on a launch that was granted and has not begun.

    Raises
    ------
    RunUnderWay
        If a person at the keyboard asks while a training is under way.
    ArgumentError
        If the launch is not one of this pipeline.
    """
    if asked.launch is not None:
        return _admit_launch(registry, pipeline.name, asked, asked.launch, now)
    is_person = asked.trigger == "person"
    request = TriggerRequest(
        pipeline=pipeline.name,
        kind=asked.trigger,
        key=flow_run.key,
        reason=asked.reason,
        actor=name_actor(asked.trigger),
        as_of=asked.as_of,
        occurred_at=as_utc(flow_run.asked_at),
        payload={"flow_run": flow_run.id} | ({} if asked.snapshot is None else {"snapshot": asked.snapshot}),
        is_exact=is_person and (asked.as_of is not None or asked.snapshot is not None),
        # Who waits at the keyboard is told of the run under way, and not surprised by another one later.
        can_follow=flow_run.is_deployed or not is_person,
    )
    spec = pipeline.spec.triggers
    labels = count_new_labels(home, pipeline.name, registry, spec, moment=asked.as_of or now, now=now)
    taken = take(registry, request, spec=spec, now=now, carrier=flow_run.id, n_new_labels=labels)
    if not flow_run.is_deployed and is_person:
        _tell_person(registry, taken)
    if taken.launch_id is not None and (taken.carries or not taken.is_new):
        return _admit_launch(registry, pipeline.name, asked, taken.launch_id, now)
    if taken.outcome == "start":
        return Admission(replace(asked, launch=taken.launch_id), "wait", f"granted for later: {taken.reason}")
    return Admission(replace(asked, launch=taken.launch_id), taken.outcome, taken.reason)


def leave(registry: Registry, admission: Admission, flow_run: FlowRun, met: RunUnderWay | LaunchClosed) -> Admission:
    """Say what becomes of a flow run that was admitted and met another run of the same pipeline all the same.

    Another process began the same launch first, or a run that no launch stands for. In the second case the launch
    goes back to wait for whoever sends launches; a person at the keyboard is told instead, and nothing waits.

    Raises
    ------
    RunUnderWay
        If a person at the keyboard asked.
    """
    asked, now = admission.asked, utc_now()
    at_keyboard = asked.trigger == "person" and not flow_run.is_deployed
    with registry.database.write() as session:
        launch = None if asked.launch is None else find_launch(session, asked.launch)
        is_ours = launch is not None and launch.open_for is not None and launch.flow_run == flow_run.id
        if launch is not None and is_ours and launch.state != BEGUN:
            if at_keyboard:
                give_up(session, launch.id, now=now, trouble=str(met))
            else:
                release(session, launch.id, now=now, trouble=str(met))
    if at_keyboard and isinstance(met, RunUnderWay):
        raise met
    return Admission(asked, "merge", str(met))


def rule_on_waiting(registry: Registry, pipeline: str) -> list[Taken]:
    """Have ruled on what waited for this run to end, and fail at nothing: the sweeper comes by as well."""
    try:
        return decide_waiting(registry, utc_now(), pipeline=pipeline)
    except EverfitError as error:
        _log.warning("triggers of %s wait to be ruled on: %s", pipeline, error)
        return []


def not_admitted(pipeline: str, admission: Admission) -> State[dict[str, Any]]:
    """Make the state in which a flow run ends that trains nothing, and which says why: completed, not failed."""
    from prefect.states import Completed

    result = {
        "run": None,
        "model": pipeline,
        "outcome": admission.outcome,
        "reason": admission.reason,
        "launch": admission.asked.launch,
    }
    return Completed(name=_NAMES[admission.outcome], message=admission.reason, data=result)


def this_flow_run() -> FlowRun:
    """Say which flow run this is, and when it was to start."""
    from prefect import runtime

    return FlowRun(
        id=str(runtime.flow_run.id),
        asked_at=as_utc(runtime.flow_run.scheduled_start_time),
        is_deployed=runtime.deployment.id is not None,
        attempt=runtime.flow_run.run_count or 1,
    )


def _admit_launch(registry: Registry, pipeline: str, asked: Asked, launch_id: str, now: datetime) -> Admission:
    """Train what a launch says, which may have learnt of more since it was sent; unless it has begun or ended."""
    with registry.database.read() as session:
        launch = find_launch(session, launch_id)
        run = None if launch.run_id is None else session.get(Run, launch.run_id)
    if launch.pipeline != pipeline:
        raise ArgumentError(f"launch {launch_id} is one of {launch.pipeline!r}, expected one of {pipeline!r}")
    is_begun = launch.state == BEGUN and run is not None and run.under_way is not None and is_alive(run, now)
    if is_begun or launch.state in (ENDED, DEAD):
        return Admission(replace(asked, launch=launch_id), "merge", f"launch {launch_id} {describe_launch(launch)}")
    return Admission(_as_asked(launch, asked), "start", launch.reason, is_granted=True)


def _as_asked(launch: Launch, asked: Asked) -> Asked:
    return Asked(
        trigger=launch.kind,  # type: ignore[arg-type]  # filed under a known kind
        reason=launch.reason,
        as_of=launch.as_of,
        snapshot=asked.snapshot or launch.parameters.get("snapshot"),
        launch=launch.id,
    )


def _tell_person(registry: Registry, taken: Taken) -> None:
    if taken.outcome != "merge" or taken.carries or taken.into is None:
        return
    with registry.database.read() as session:
        run = session.get(Run, taken.into)
    if run is not None and run.under_way is not None:
        raise RunUnderWay(run)
