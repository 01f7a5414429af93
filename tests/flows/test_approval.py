"""A run whose promotion people must agree to waits in Prefect, and goes on by its form or by the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_runs import resume_flow_run

from base.approval_spec import ApprovalSpec
from base.times import utc_now
from deployments.prefect_server import use_client
from registry.approvals import WAITING, answer_approval, ask_approval
from registry.models import find_alias
from registry.store import Registry
from registry.tables import Run
from tasks.approval import resume_waiting_run, wait_for_approval
from tests.prefect_server import TestServer
from tests.registry.samples import a_pipeline_in, a_version

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

_PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.approval._LOOK_SECONDS", 1)
    # As a run that a deployment started sees it.
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "00000000-0000-0000-0000-000000000001")


@contextmanager
def _waiting(server: TestServer, registry: Registry, spec: ApprovalSpec) -> Iterator[tuple[str, UUID, Future[Any]]]:
    """Let a flow run wait for approval; give our run, Prefect's, and how it will end."""
    with registry.database.write() as session:
        version = a_version(session, a_pipeline_in(session))
        run = session.get_one(Run, version.run_id)
        run.status = WAITING
        session.add(run)
        ask_approval(
            session,
            spec,
            version,
            environment="prod",
            revision=0,
            requester="ada",
            reason="better by 0.01",
            now=utc_now(),
        )
        run_id = run.id
    started: list[UUID] = []

    @flow(name="waiting")
    def waiting() -> str | None:
        from prefect import runtime

        started.append(UUID(runtime.flow_run.id))
        return wait_for_approval(registry, run_id)

    with use_client(server.settings, server.api_url), ThreadPoolExecutor(1) as thread:
        ended = thread.submit(waiting)
        yield run_id, _paused(started, ended), ended


def _paused(started: list[UUID], ended: Future[Any]) -> UUID:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and not ended.done():
        if started:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(started[0]).state
            if state is not None and state.is_paused():
                return started[0]
        time.sleep(0.1)
    raise AssertionError(f"the run did not pause; it ended with {ended.exception(0) if ended.done() else 'nothing'}")


def _champion(registry: Registry) -> int | None:
    with registry.database.read() as session:
        alias = find_alias(session, "prod", "churn")
    return None if alias is None else alias.number


def test_the_form_in_prefect_promotes(prefect_server: TestServer, registry: Registry) -> None:
    with _waiting(prefect_server, registry, ApprovalSpec()) as (_, flow_run, ended):
        resume_flow_run(flow_run, run_input={"approver": "ben", "answer": "approve", "reason": "seen"})

        assert ended.result(_PATIENCE_SECONDS) == "approved"
    assert _champion(registry) == 1


def test_a_form_of_the_requester_does_not_count_and_the_run_waits_on(
    prefect_server: TestServer, registry: Registry
) -> None:
    with _waiting(prefect_server, registry, ApprovalSpec()) as (_, flow_run, ended):
        resume_flow_run(flow_run, run_input={"approver": "ada", "answer": "approve", "reason": "mine"})
        time.sleep(1.5)

        resume_flow_run(_paused([flow_run], ended), run_input={"approver": "ben", "answer": "reject", "reason": "no"})

        assert ended.result(_PATIENCE_SECONDS) == "rejected"
    assert _champion(registry) is None


def test_an_answer_on_the_command_line_lets_the_run_go_on(prefect_server: TestServer, registry: Registry) -> None:
    with _waiting(prefect_server, registry, ApprovalSpec()) as (run_id, flow_run, ended):
        with registry.database.write() as session:
            answer_approval(session, run_id, actor="ben", answer="approve", reason="seen", now=utc_now())

        resume_waiting_run(str(flow_run), approver="ben", answer="approve", reason="seen")

        assert ended.result(_PATIENCE_SECONDS) == "approved"
    assert _champion(registry) == 1


def test_without_an_answer_it_expires(prefect_server: TestServer, registry: Registry) -> None:
    with _waiting(prefect_server, registry, ApprovalSpec(expires=timedelta(seconds=3))) as (_, _flow_run, ended):
        assert ended.result(_PATIENCE_SECONDS) == "expired"
    assert _champion(registry) is None
