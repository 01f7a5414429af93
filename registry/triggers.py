"""The inbox of triggers: every wish for a training, filed once under its sender's key, with what became of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from base.documents import as_document, as_text
from base.errors import ArgumentError, nearest
from base.references import Trigger
from base.times import as_utc
from base.triggers_spec import TriggersSpec
from registry.pipelines import list_pipelines
from registry.situations import NEWEST_VERSION
from registry.tables import Launch, PipelineVersion, Run, TriggerRow

WAITING, STARTED, MERGED, SUPPRESSED = "waiting", "started", "merged", "suppressed"
STATES = (WAITING, STARTED, MERGED, SUPPRESSED)
"""What a trigger is: not ruled upon yet, or what came of it."""

# Whoever writes more has written it into the payload as well.
_LONGEST_TEXT = 2_000
_MOST_CAUSES = 50
# By digest, under which a version never changes: a storm of triggers reads each once.
_specs: dict[str, TriggersSpec] = {}


def make_trigger(
    *,
    pipeline: str,
    kind: Trigger,
    key: str,
    reason: str,
    actor: str,
    priority: int,
    occurred_at: datetime,
    now: datetime,
    payload: Mapping[str, Any] | None = None,
    as_of: datetime | None = None,
    caused_by: str | None = None,
) -> TriggerRow:
    """Make the row of a wish for a training, to be filed unless its *key* is known already.

    A wish from the future came by a clock that is wrong: it occurred now.
    """
    return TriggerRow(
        id=f"t-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        pipeline=pipeline,
        kind=kind,
        key=_short(key),
        reason=_short(reason),
        actor=_short(actor),
        priority=priority,
        payload=as_document(dict(payload or {})),
        as_of=as_of,
        caused_by=caused_by,
        occurred_at=min(as_utc(occurred_at), now),
        received_at=now,
    )


def find_trigger(session: Session, trigger_id: str) -> TriggerRow:
    """Return a trigger by its id.

    Raises
    ------
    ArgumentError
        If there is none.
    """
    found = session.get(TriggerRow, trigger_id)
    if found is None:
        raise ArgumentError(f"there is no trigger {trigger_id!r}; `everfit triggers list` shows the newest")
    return found


def list_triggers(
    session: Session, *, pipeline: str | None = None, state: str | None = None, limit: int | None = 50
) -> list[TriggerRow]:
    """List triggers, newest first; all of them without a *limit*."""
    query = select(TriggerRow).order_by(col(TriggerRow.received_at).desc(), col(TriggerRow.id).desc())
    if limit is not None:
        query = query.limit(limit)
    if pipeline is not None:
        query = query.where(TriggerRow.pipeline == pipeline)
    if state is not None:
        query = query.where(TriggerRow.state == state)
    return list(session.exec(query))


def list_waiting(session: Session, *, pipeline: str | None = None) -> list[TriggerRow]:
    """List the triggers that were filed and not ruled upon: the most urgent first, then as they came."""
    query = select(TriggerRow).where(TriggerRow.state == WAITING)
    if pipeline is not None:
        query = query.where(TriggerRow.pipeline == pipeline)
    return list(session.exec(query.order_by(col(TriggerRow.priority).desc(), col(TriggerRow.received_at))))


def reopen_triggers(session: Session, launch: Launch) -> list[TriggerRow]:
    """Let what went into a launch wait for a new ruling, since the launch does not come to what they asked for."""
    rows = list(session.exec(select(TriggerRow).where(TriggerRow.launch == launch.id)))
    for row in rows:
        row.state, row.launch, row.decided_at, row.decision = WAITING, None, None, None
        session.add(row)
    session.flush()
    return rows


def find_triggers_spec(session: Session, pipeline: str) -> TriggersSpec:
    """Return what a registered pipeline says of its triggers, by the version that was registered or trained last.

    Raises
    ------
    ArgumentError
        If no pipeline of that name is registered.
    """
    return read_triggers_spec(session, pipeline, session.scalar(NEWEST_VERSION, {"pipeline": pipeline}))


def read_triggers_spec(session: Session, pipeline: str, version: str | None) -> TriggersSpec:
    """Return what a version of a pipeline says of its triggers.

    Parameters
    ----------
    version : str or None
        Its digest, as :class:`registry.situations.Situation` holds it.

    Raises
    ------
    ArgumentError
        If there is no version, since no pipeline of that name is registered.
    """
    if version is None:
        known = list_pipelines(session)
        raise ArgumentError(
            f"there is no pipeline {pipeline!r}; registered are {', '.join(known) or 'none'}{nearest(pipeline, known)}"
        )
    if (spec := _specs.get(version)) is None:
        package = session.get_one(PipelineVersion, version).package
        spec = _specs[version] = TriggersSpec.model_validate(package["spec"].get("triggers", {}))
    return spec


def find_causes(session: Session, pipeline: str, caused_by: str) -> list[str]:
    """Follow a trigger's cause back, from run to launch to trigger, and return the pipeline's own runs on the way.

    Parameters
    ----------
    caused_by : str
        A run, the flow run of one, a launch or a trigger; anything else leads nowhere.
    """
    runs: list[str] = []
    seen: set[str] = set()
    cause: str | None = caused_by
    while cause is not None and cause not in seen and len(seen) < _MOST_CAUSES:
        seen.add(cause)
        run = session.get(Run, cause) or session.exec(select(Run).where(Run.prefect_run == cause)).first()
        if run is not None and run.pipeline == pipeline:
            runs.append(run.id)
        trigger = session.get(TriggerRow, cause)
        launch = session.get(Launch, cause)
        if run is not None:
            launch = session.exec(select(Launch).where(Launch.run_id == run.id)).first()
        if launch is not None:
            trigger = session.get(TriggerRow, launch.trigger)
            if launch.pipeline == pipeline and launch.run_id is not None and launch.run_id not in runs:
                runs.append(launch.run_id)
        cause = None if trigger is None else trigger.caused_by
    return runs


def _short(text: str) -> str:
    text = as_text(text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
