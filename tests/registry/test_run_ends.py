"""Claims about runs whose process died after the gate had decided: they are closed as what they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import Session

from base.approval_spec import ApprovalSpec
from base.times import utc_now
from registry.approval_rule import Answer
from registry.approvals import answer_approval, ask_approval, close_expired
from registry.ledger import append_decision
from registry.models import promote_version, register_version
from registry.runs import begin_run, this_process
from registry.store import Registry
from registry.tables import ModelVersion, PipelineVersion, Run
from tests.registry.samples import LEASE, a_pipeline, new_version

After = Callable[[Session, ModelVersion], None]
HOST, _, START = this_process().split(":")
# A process of this host that ended long ago.
DEAD = f"{HOST}:1:{int(START) - 10**6}"


def _decide(session: Session, version: ModelVersion, *, promote: bool = True) -> None:
    append_decision(
        session,
        kind="gate",
        pipeline="churn",
        run_id=version.run_id,
        outcome="better" if promote else "worse",
        reason="by 0.1",
        actor="ada",
    )


def _keep(session: Session, version: ModelVersion) -> None:
    _decide(session, version, promote=False)


def _promote(session: Session, version: ModelVersion) -> None:
    _decide(session, version)
    promote_version(session, "prod", version, expected_revision=0, actor="ada", reason="better", run_id=version.run_id)


def _ask(session: Session, version: ModelVersion) -> None:
    _decide(session, version)
    ask_approval(
        session,
        ApprovalSpec(expires=timedelta(hours=1)),
        version,
        environment="prod",
        revision=0,
        requester="ada",
        reason="by 0.1",
        now=utc_now(),
    )


def _nothing(session: Session, version: ModelVersion) -> None:
    pass


def _die(registry: Registry, pipeline: PipelineVersion, after: After) -> str:
    """Let a run do something, and its process die without another word."""
    with registry.database.write() as session:
        run, _ = begin_run(session, pipeline, parameters={"n": 1}, trigger="person", owner=DEAD, lease=LEASE)
        version = register_version(session, new_version(pipeline, run.id))
        after(session, version)
        return run.id


def _next(registry: Registry, pipeline: PipelineVersion) -> None:
    with registry.database.write() as session:
        begin_run(session, pipeline, parameters={"n": 2}, trigger="person", owner=this_process(), lease=LEASE)


def _end(registry: Registry, run: str) -> tuple[str, str | None, str]:
    with registry.database.read() as session:
        found = session.get_one(Run, run)
        return found.status, found.under_way, found.reason or ""


@pytest.mark.parametrize(
    ("after", "status", "reason"),
    [
        (_nothing, "failed", "its process"),
        (_keep, "kept", "by 0.1"),
        (_promote, "promoted", "by 0.1"),
        (_ask, "waiting", "by 0.1"),
    ],
)
def test_the_next_run_closes_it_as_what_it_is(any_registry: Registry, after: After, status: str, reason: str) -> None:
    pipeline = a_pipeline(any_registry)
    run = _die(any_registry, pipeline, after)

    _next(any_registry, pipeline)

    found = _end(any_registry, run)
    assert found[:2] == (status, None)
    assert reason in found[2]


@pytest.mark.parametrize(("answer", "status"), [("approve", "promoted"), ("reject", "kept")])
@pytest.mark.parametrize("is_looked_at_before", [False, True])
def test_an_answer_closes_a_run_that_died_after_it_had_asked(
    registry: Registry, answer: Answer, status: str, is_looked_at_before: bool
) -> None:
    pipeline = a_pipeline(registry)
    run = _die(registry, pipeline, _ask)
    if is_looked_at_before:
        _next(registry, pipeline)

    with registry.database.write() as session:
        answer_approval(session, run, actor="ben", answer=answer, reason="seen", now=utc_now())

    assert _end(registry, run)[:2] == (status, None)


def test_time_closes_it_too(registry: Registry) -> None:
    run = _die(registry, a_pipeline(registry), _ask)

    with registry.database.write() as session:
        close_expired(session, utc_now() + timedelta(hours=2))

    assert _end(registry, run)[:2] == ("kept", None)


def test_a_run_that_lives_says_itself_how_it_ended(registry: Registry) -> None:
    pipeline = a_pipeline(registry)
    run = _die(registry, pipeline, _ask)
    with registry.database.write() as session:
        session.get_one(Run, run).owner = this_process()

    with registry.database.write() as session:
        answer_approval(session, run, actor="ben", answer="approve", reason="seen", now=utc_now())

    assert _end(registry, run)[0] == "running"
