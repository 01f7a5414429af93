"""`everfit trigger` and `everfit triggers`: ask for a training, and see what became of what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from base.errors import ArgumentError, nearest
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from console.output import Output
    from registry.tables import Run, TriggerRow

_WORDS = {"start": "a training starts", "merge": "it goes into another training", "suppress": "nothing is trained"}


def trigger_command(pipeline: str, *, reason: str, as_of: str | None, key: str | None, output: Output) -> None:
    """File a person's wish, and tell the arbiter's word.

    Raises
    ------
    ArgumentError
        If there is no such pipeline, or *as_of* is no moment.
    """
    from base.actors import name_person
    from base.times import utc_now
    from monitoring.desk import TriggerRequest, take

    settings = read_settings()
    registry = open_registry(settings)
    if not reason.strip():
        raise ArgumentError("--reason is empty; expected why, for whoever reads the ledger later")
    request = TriggerRequest(
        pipeline=pipeline,
        kind="person",
        key=key or f"person:{uuid4()}",
        reason=reason,
        actor=name_person(),
        as_of=_read_moment(as_of),
    )
    taken = take(registry, request, now=utc_now())
    said_before = "" if taken.is_new else " (it was asked before, under the same key)"
    output.say(f"{taken.trigger_id}: {_WORDS[taken.outcome]}{said_before}: {taken.reason}")
    if taken.launch_id is not None and taken.outcome == "start":
        output.say(f"launch {taken.launch_id} is sent by `everfit up`, or by `everfit dispatch` beside your own server")
    output.result(
        {
            "trigger": taken.trigger_id,
            "is_new": taken.is_new,
            "outcome": taken.outcome,
            "reason": taken.reason,
            "launch": taken.launch_id,
        }
    )


def list_command(pipeline: str | None, *, state: str | None, limit: int, output: Output) -> None:
    """List triggers, newest first.

    Raises
    ------
    ArgumentError
        If there is no such pipeline or state.
    """
    from registry.triggers import STATES, list_triggers

    if state is not None and state not in STATES:
        raise ArgumentError(f"--state is {state!r}, expected one of {', '.join(STATES)}{nearest(state, STATES)}")
    registry = open_registry(read_settings())
    with registry.database.read() as session:
        if pipeline is not None:
            check_pipeline(session, pipeline)
        rows = list_triggers(session, pipeline=pipeline, state=state, limit=limit)
    if not rows:
        output.say("Nothing has asked for a training yet.")
    else:
        output.table(
            ["trigger", "when (UTC)", "pipeline", "kind", "by", "times", "state", "ruling"],
            [
                [
                    row.id,
                    f"{row.received_at:%Y-%m-%d %H:%M:%S}",
                    row.pipeline,
                    row.kind,
                    row.actor,
                    1 + row.n_duplicates,
                    row.state,
                    row.ruling,
                ]
                for row in rows
            ],
        )
    output.result([row.model_dump(mode="json") for row in rows])


def show_command(trigger_id: str, *, output: Output) -> None:
    """Show one trigger with what came of it.

    Raises
    ------
    ArgumentError
        If there is none of that id.
    """
    import json

    from registry.launches import describe_launch
    from registry.tables import Launch, Run
    from registry.triggers import find_trigger

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        row = find_trigger(session, trigger_id)
        launch = None if row.launch is None else session.get(Launch, row.launch)
        run = None if launch is None or launch.run_id is None else session.get(Run, launch.run_id)
    for name, value in _describe(row, run).items():
        output.say(f"{name}: {value}")
    if launch is not None:
        output.say(f"launch: {launch.id} {describe_launch(launch)}")
    if row.payload:
        output.say(f"payload: {json.dumps(row.payload, ensure_ascii=False, indent=2)}")
    output.result(
        {
            **row.model_dump(mode="json"),
            "launched": None if launch is None else launch.model_dump(mode="json"),
            "run": None if run is None else {"id": run.id, "status": run.status, "reason": run.reason},
        }
    )


def check_pipeline(session: Session, pipeline: str) -> None:
    """Make sure that a pipeline is registered.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    from registry.pipelines import list_pipelines

    known = list_pipelines(session)
    if pipeline not in known:
        raise ArgumentError(
            f"there is no pipeline {pipeline!r}; registered are {', '.join(known) or 'none'}{nearest(pipeline, known)}"
        )


def _describe(row: TriggerRow, run: Run | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "trigger": f"{row.id}, {row.kind} of {row.pipeline}",
        "asked": f"by {row.actor} at {row.occurred_at:%Y-%m-%d %H:%M:%S} UTC",
        "key": row.key if not row.n_duplicates else f"{row.key}, which came {1 + row.n_duplicates} times",
        "reason": row.reason or "none was given",
        "state": row.state + ("" if not row.ruling else f": {row.ruling}"),
    }
    if row.as_of is not None:
        told["as of"] = f"{row.as_of:%Y-%m-%d %H:%M} UTC"
    if row.caused_by is not None:
        told["caused by"] = row.caused_by
    if row.decision is not None:
        told["ledger"] = f"entry {row.decision}; everfit why {row.decision}"
    if run is not None:
        told["run"] = f"{run.id}: {run.status}{f', {run.reason}' if run.reason else ''}"
    return told


def _read_moment(as_of: str | None) -> datetime | None:
    from base.times import parse_moment

    if as_of is None:
        return None
    try:
        return parse_moment(as_of)
    except ValueError as error:
        raise ArgumentError(f"--as-of: {error}") from error
