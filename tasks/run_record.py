"""The record of a run: begun or resumed, kept alive by its lease, closed with its outcome."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import select

from base.actors import name_person
from base.errors import DataRefused, EverfitError
from base.judged import Promotion
from base.pipeline import Pipeline
from base.references import Trigger
from base.settings import Settings
from base.signatures import signing_keys
from registry.approvals import approval_status
from registry.installed import store_environment
from registry.ledger import append_decision
from registry.manifest import ChampionReference
from registry.models import CHAMPION, alias_history, find_alias, find_version
from registry.openlineage import LineageEmitter
from registry.pipelines import register_pipeline
from registry.runs import (
    RUNNING,
    LeaseLost,
    begin_run,
    finish_run,
    renew_lease,
    this_process,
)
from registry.signed_versions import read_version
from registry.store import Registry, open_registry
from registry.tables import Run
from registry.webhook_delivery import deliver_soon
from tasks.execution import RunReference
from tasks.refusal import ValidationRefused
from tasks.run_evidence import grant_training, refusal_inputs, refusal_rule

_RENEWALS_PER_LEASE = 4

_log = logging.getLogger(__name__)


@contextmanager
def keep_run(
    pipeline: Pipeline,
    settings: Settings,
    *,
    as_of: datetime | None,
    trigger: Trigger,
    reason: str,
    prefect_run: str | None,
    snapshot: str | None = None,
    launch: str | None = None,
    is_deployed: bool = False,
) -> Iterator[RunReference]:
    """Begin a run, or resume the one whose process died, and keep its lease until it ends.

    Whatever ends it is recorded: refused data as ``refused``, anything else that raises as ``failed``, each
    with its reason and, for refused data, a decision in the ledger. ``kill -9`` leaves a run open, and the next one
    like it resumes there. So does what ends a run from outside, where its *launch* is sent to a worker again
    (*is_deployed*): the worker stopped or died and took it along, or Prefect's server was away for longer than its
    client waits.

    Raises
    ------
    RunUnderWay
        If a live process is training this pipeline.
    LaunchClosed
        If the *launch* of which the run would come has ended.
    """
    registry = open_registry(settings)
    version = register_pipeline(registry, pipeline)
    store_environment(registry.artifacts)
    owner = this_process()
    lease = timedelta(seconds=settings.lease_seconds)
    with registry.database.write() as session:
        before = session.exec(select(Run).where(Run.under_way == pipeline.name)).first()
        dead_run = None if before is None else before.prefect_run
        run, is_resumed = begin_run(
            session,
            version,
            parameters={
                "as_of": None if as_of is None else as_of.isoformat(),
                "reason": reason,
                **({} if snapshot is None else {"snapshot": snapshot}),
            },
            trigger=trigger,
            owner=owner,
            lease=lease,
            prefect_run=prefect_run,
            launch=launch,
        )
        if not is_resumed:
            grant_training(session, run, settings, name_actor(trigger))
    if dead_run is not None and dead_run != prefect_run:
        _tell_prefect_of_death(dead_run)
    reference = RunReference(
        id=run.id,
        owner=owner,
        definition=pipeline.file,
        pipeline_version=version.digest,
        home=settings.home.absolute(),
    )
    lineage = LineageEmitter(settings.openlineage)
    lineage.begin(registry, run.id)
    stop = threading.Event()
    thread = threading.Thread(target=_keep_lease, args=(registry, reference, lease, stop), daemon=True)
    thread.start()
    try:
        yield reference
    except LeaseLost:
        raise
    except BaseException as error:
        if not (is_deployed and launch is not None and _was_cut_off(error)):
            _record_end(registry, reference, error)
        raise
    finally:
        stop.set()
        thread.join()
        lineage.end(registry, run.id)
        deliver_soon(registry.database, settings)


def close_run(registry: Registry, run: RunReference, promotion: Promotion, reason: str) -> None:
    """Close a run that came to its end: ``promoted``, ``kept`` when the champion stays, or ``waiting`` for people."""
    with registry.database.write() as session:
        row = session.get_one(Run, run.id)
        if row.owner != run.owner:
            raise LeaseLost(run.id)
        status = approval_status(session, run.id) or ("promoted" if promotion.promoted else "kept")
        finish_run(session, row, status=status, reason=reason)


def find_champion(registry: Registry, run: RunReference, model: str) -> ChampionReference:
    """Return the champion that a run's challenger is judged against.

    A run that moved the alias and died before it could say so is judged, when it resumes, against the
    champion before its own.

    Raises
    ------
    SignatureRefused
        If the champion is not what was signed.
    """
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, model)
        number = None if alias is None else alias.number
        revision = 0 if alias is None else alias.revision
        for move in alias_history(session, registry.environment, model, CHAMPION):
            if move.run_id == run.id:
                number, revision = move.previous, move.revision - 1
        version = None if number is None else find_version(session, model, number)
    settings = Settings(home=run.home)
    if version is not None:
        # It is loaded and asked: nothing is that was not signed.
        read_version(version, signing_keys(settings), required=settings.require_signature)
    return ChampionReference(number=number, revision=revision, manifest=None if version is None else version.manifest)


def name_actor(trigger: Trigger) -> str:
    """Name who acts: the person at the keyboard, or the trigger that came by itself."""
    if trigger != "person":
        return f"trigger {trigger}"
    return name_person()


def _was_cut_off(error: BaseException) -> bool:
    """Tell whether a flow run was ended from outside, which says nothing of the training itself."""
    import httpx
    from prefect.exceptions import TerminationSignal

    if isinstance(error, TerminationSignal):
        return True
    # A source may be read over HTTP as well: only what Prefect's own client met is meant.
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, httpx.TransportError) and any(
        str(frame.f_globals.get("__name__")).startswith("prefect.client") for frame in frames
    )


def _record_end(registry: Registry, run: RunReference, error: BaseException) -> None:
    if isinstance(error, EverfitError):
        status, reason = "refused" if isinstance(error, DataRefused) else "failed", str(error)
    else:
        status, reason = "failed", f"{type(error).__name__}: {error}".rstrip(": ")
    try:
        _close(registry, run, status, reason, error)
    except EverfitError as problem:
        # What ended the run is what its owner must hear of first.
        error.add_note(f"the run's end could not be recorded: {problem}")


def _close(registry: Registry, run: RunReference, status: str, reason: str, error: BaseException) -> None:
    with registry.database.write() as session:
        row = session.get_one(Run, run.id)
        if row.status != RUNNING or row.owner != run.owner:
            return
        finish_run(session, row, status=status, reason=reason)
        if isinstance(error, DataRefused):
            faults = [
                {"column": fault.column, "found": fault.found, "expected": fault.expected} for fault in error.faults
            ]
            append_decision(
                session,
                kind="data",
                pipeline=row.pipeline,
                run_id=run.id,
                outcome="refused",
                reason=reason,
                actor=f"run {run.id}",
                evidence={"faults": faults, "step": row.step, **_name_kept(error)},
                rule=refusal_rule(session, row),
                inputs=refusal_inputs(session, row),
            )


def _name_kept(error: DataRefused) -> dict[str, Any]:
    """Name what was kept of a refused validation: the page, and the rows at fault."""
    if not isinstance(error, ValidationRefused):
        return {}
    kept = error.kept.model_dump(mode="json", include={"page", "quarantined", "reasons"})
    return {"validation": kept}


def _tell_prefect_of_death(flow_run: str) -> None:
    """Let Prefect show a flow run whose process died as crashed; by itself it would show it as running for ever."""
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(flow_run)).state
            if state is not None and not state.is_final():
                message = "Its process died; another run has taken its work over."
                client.set_flow_run_state(UUID(flow_run), Crashed(message=message), force=True)
    except Exception as error:
        # It may have run against another server, or none; the training does not depend on it.
        _log.info("flow run %s could not be marked as crashed: %s", flow_run, error)


def _keep_lease(registry: Registry, run: RunReference, lease: timedelta, stop: threading.Event) -> None:
    while not stop.wait(lease.total_seconds() / _RENEWALS_PER_LEASE):
        try:
            with registry.database.write() as session:
                renew_lease(session, run.id, owner=run.owner, lease=lease)
        except LeaseLost:
            return
