"""Runs and their steps: one run under way for each pipeline, resumed where it broke."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import update
from sqlmodel import Session, col, select

from base.documents import as_document, as_text
from base.errors import EverfitError
from base.fingerprint import digest_document
from base.times import utc_now
from registry.launches import end_launch_of, mark_begun
from registry.run_ends import find_end
from registry.tables import PipelineVersion, Run, StepExecution

RUNNING = "running"

_PROCESS = re.compile(r"(?P<host>.+):(?P<pid>\d+):(?P<start>\d+)")
# The start of a process is told by the clock that the system had when asked; a correction moves it a little.
_CLOCK_JITTER_SECONDS = 1.5
# Linux's constant name of the process table that a machine boots with; a container has one of its own.
_FIRST_PROCESS_TABLE = "pid:[4026531836]"


class RunUnderWay(EverfitError):
    """The pipeline is being trained already, by a process that lives."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"pipeline {run.pipeline!r} is being trained already: run {run.id} is at step {run.step or 'extract'!r} "
            f"(process {run.owner}, since {run.started_at:%Y-%m-%d %H:%M:%S} UTC); wait until it ends"
        )
        self.run = run


class LeaseLost(EverfitError):
    """Another process has taken this run over, since this one was silent for too long, or the run has ended."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} has ended, or was taken over by another process; this one stops here")
        self.run_id = run_id


@dataclass(frozen=True)
class StepKey:
    """What a step's result depends on; equal parts mean an equal result."""

    code: str
    parameters: str
    inputs: dict[str, str]
    environment: str

    @property
    def digest(self) -> str:
        """The parts in one digest."""
        return digest_document(self.parts())

    def parts(self) -> dict[str, Any]:
        """The parts as a JSON document."""
        return {
            "code": self.code,
            "parameters": self.parameters,
            "inputs": self.inputs,
            "environment": self.environment,
        }


def this_process() -> str:
    """Name this process so that another one can tell whether it lives: ``host:pid:start``."""
    return f"{_this_host()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def begin_run(
    session: Session,
    version: PipelineVersion,
    *,
    parameters: dict[str, Any],
    trigger: str,
    owner: str,
    lease: timedelta,
    prefect_run: str | None = None,
    launch: str | None = None,
) -> tuple[Run, bool]:
    """Start a run, or take over the one whose process died; tell which (True: resumed).

    A dead run of the same pipeline version and parameters is resumed under its own id. A dead one of other
    parameters or an older version is closed as what it is, and a new run starts. The *launch* of which the run comes
    has begun in the same transaction.

    Raises
    ------
    RunUnderWay
        If a live process is training this pipeline.
    LaunchClosed
        If the launch has ended.
    """
    now = utc_now()
    parameters = as_document(parameters)
    current = session.exec(select(Run).where(Run.under_way == version.pipeline)).first()
    if current is not None:
        if is_alive(current, now):
            # The rollback that follows would empty the row, and the error's reader could not look at it.
            session.expunge(current)
            raise RunUnderWay(current)
        if current.pipeline_version == version.digest and current.parameters == parameters:
            current.owner, current.prefect_run = owner, prefect_run
            current.lease_until = now + lease
            session.add(current)
            session.flush()
            if launch is not None:
                mark_begun(session, launch, current.id, now=now)
            return current, True
    run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    if launch is not None:
        # Before the dead run is closed, which would end the launch that it was as well.
        mark_begun(session, launch, run_id, now=now)
    if current is not None:
        close_dead(session, current)
    run = Run(
        id=run_id,
        pipeline=version.pipeline,
        pipeline_version=version.digest,
        parameters=parameters,
        trigger=trigger,
        status=RUNNING,
        owner=owner,
        prefect_run=prefect_run,
        under_way=version.pipeline,
        lease_until=now + lease,
        started_at=now,
    )
    session.add(run)
    session.flush()
    return run, False


def close_dead(session: Session, run: Run) -> None:
    """Close a run whose process died: as failed, unless its gate had decided already."""
    status, reason = find_end(session, run) or ("failed", f"its process {run.owner} died at step {run.step!r}")
    finish_run(session, run, status=status, reason=reason)


def is_alive(run: Run, now: datetime) -> bool:
    """Tell whether the process that holds a run's lease lives; on this host, ask the system itself."""
    owner = _PROCESS.fullmatch(run.owner)
    if owner is None or owner["host"] != _this_host():
        return now < run.lease_until
    try:
        process = psutil.Process(int(owner["pid"]))
        same = abs(process.create_time() - int(owner["start"])) <= _CLOCK_JITTER_SECONDS
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def renew_lease(session: Session, run_id: str, *, owner: str, lease: timedelta, step: str | None = None) -> None:
    """Say that a run lives, and at which step it is.

    Raises
    ------
    LeaseLost
        If another process has taken the run over.
    """
    values: dict[str, Any] = {"lease_until": utc_now() + lease}
    if step is not None:
        values["step"] = step
    held = update(Run).where(col(Run.id) == run_id, col(Run.owner) == owner, col(Run.status) == RUNNING)
    if session.connection().execute(held.values(**values)).rowcount != 1:
        raise LeaseLost(run_id)


def finish_run(session: Session, run: Run, *, status: str, reason: str) -> None:
    """Close a run, and the launch that it was: ``promoted``, ``kept``, ``refused`` or ``failed``, with the reason.

    Raises
    ------
    LeaseLost
        If another process has taken the run over, or it is closed already: the first word counts.
    """
    held = update(Run).where(col(Run.id) == run.id, col(Run.owner) == run.owner, col(Run.status) == RUNNING)
    if session.connection().execute(held.values(status=status)).rowcount != 1:
        raise LeaseLost(run.id)
    run.status, run.reason = status, as_text(reason)
    run.under_way = None
    run.finished_at = utc_now()
    session.add(run)
    session.flush()
    end_launch_of(session, run.id, status, now=run.finished_at)


def list_runs(session: Session, *, pipeline: str | None = None, limit: int = 50) -> list[Run]:
    """List runs, newest first."""
    query = select(Run).order_by(col(Run.started_at).desc()).limit(limit)
    return list(session.exec(query if pipeline is None else query.where(Run.pipeline == pipeline)))


def find_step(session: Session, pipeline: str, step: str, key: StepKey) -> StepExecution | None:
    """Return the newest execution of a step under the same key, or None."""
    return session.exec(
        select(StepExecution)
        .where(StepExecution.pipeline == pipeline, StepExecution.step == step, StepExecution.key == key.digest)
        .order_by(col(StepExecution.id).desc())
        .limit(1)
    ).first()


def explain_miss(session: Session, pipeline: str, step: str, key: StepKey) -> str:
    """Say why no result of a step can be reused: what differs from the last one."""
    last = session.exec(
        select(StepExecution)
        .where(StepExecution.pipeline == pipeline, StepExecution.step == step)
        .order_by(col(StepExecution.id).desc())
        .limit(1)
    ).first()
    if last is None:
        return "first time"
    before, now = last.components, key.parts()
    changed = [name for name in ("code", "parameters", "environment") if before.get(name) != now[name]]
    inputs = before.get("inputs", {})
    names = [*key.inputs, *(name for name in inputs if name not in key.inputs)]
    changed += [f"input {name}" for name in names if inputs.get(name) != key.inputs.get(name)]
    return f"changed: {', '.join(changed)}" if changed else "its stored result is gone"


def record_step(
    session: Session,
    *,
    run: Run,
    step: str,
    key: StepKey,
    output: dict[str, Any],
    seconds: float,
    reused_from: int | None = None,
) -> StepExecution:
    """Record that a step was executed, or that its earlier result was reused."""
    output = as_document(output)
    execution = StepExecution(
        run_id=run.id,
        pipeline=run.pipeline,
        step=step,
        key=key.digest,
        components=key.parts(),
        output=output,
        output_digest=digest_document(output),
        reused_from=reused_from,
        seconds=seconds,
    )
    session.add(execution)
    session.flush()
    return execution


def list_steps(session: Session, run_id: str) -> list[StepExecution]:
    """List the steps of a run in their order."""
    query = select(StepExecution).where(StepExecution.run_id == run_id).order_by(col(StepExecution.id))
    return list(session.exec(query))


def _this_host() -> str:
    # Two containers may share a host's name and not see each other's processes: then only the lease can tell.
    try:
        table = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        table = _FIRST_PROCESS_TABLE
    host = socket.gethostname()
    return host if table == _FIRST_PROCESS_TABLE else f"{host}/{table.strip('pid:[]')}"
