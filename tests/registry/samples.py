"""Rows that the tests of the registry start from."""

from __future__ import annotations

import secrets
from datetime import timedelta

from sqlmodel import Session

from registry.models import NewVersion, register_version
from registry.runs import begin_run, finish_run, this_process
from registry.store import Registry
from registry.tables import ModelVersion, PipelineRow, PipelineVersion, Run

LEASE = timedelta(seconds=60)


def a_pipeline(registry: Registry, name: str = "churn", digest: str = "d" * 64) -> PipelineVersion:
    """Record a pipeline and one version of it."""
    with registry.database.write() as session:
        return a_pipeline_in(session, name, digest)


def a_pipeline_in(session: Session, name: str = "churn", digest: str = "d" * 64) -> PipelineVersion:
    """Record a pipeline and one version of it, in a transaction that is under way."""
    if session.get(PipelineRow, name) is None:
        session.add(PipelineRow(name=name, definition=f"/{name}/pipeline.yaml"))
        session.flush()
    version = PipelineVersion(digest=digest, pipeline=name, package={})
    session.add(version)
    session.flush()
    return version


def a_finished_run(session: Session, version: PipelineVersion) -> Run:
    """Record a run that has ended, so that the next may begin."""
    run, _ = begin_run(
        session, version, parameters={"nonce": secrets.token_hex(4)}, trigger="test", owner=this_process(), lease=LEASE
    )
    finish_run(session, run, status="kept", reason="test")
    return run


def a_version(session: Session, version: PipelineVersion) -> ModelVersion:
    """Register a model of a run of its own."""
    return register_version(session, new_version(version, a_finished_run(session, version).id))


def new_version(version: PipelineVersion, run_id: str) -> NewVersion:
    """What a run registers."""
    return NewVersion(
        model=version.pipeline,
        run_id=run_id,
        pipeline_version=version.digest,
        manifest={},
        metrics={"log_loss": 0.5},
        verdict={},
    )
