"""Claims about the sender, on a real Prefect server: one flow run for one sending, with the launch's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from base.pipeline import Pipeline
from deployments.launching.sender import NotSent, PrefectSender
from registry.tables import Launch
from tests.deployments.conftest import SmallFlows
from tests.prefect_server import TestServer

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

pytestmark = pytest.mark.prefect

_POOL = "nobody"


@pytest.fixture
def client(prefect_server: TestServer) -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def sender() -> PrefectSender:
    return PrefectSender(flow="small-training")


def _launch(pipeline: str, *, n_sent: int = 0) -> Launch:
    return Launch(
        id=f"l-{uuid4().hex}",
        pipeline=pipeline,
        trigger="t-1",
        kind="drift",
        reason="6 of 17 features drifted",
        as_of=datetime(2026, 3, 2, tzinfo=UTC),
        n_sent=n_sent,
    )


def test_the_same_sending_is_one_flow_run_and_the_next_another(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline], sender: PrefectSender
) -> None:
    small_flows.register(make_pipeline("sent"), pool=_POOL)
    launch = _launch("sent")

    first = [sender.send(launch), PrefectSender(flow="small-training").send(launch)]
    again = sender.send(launch.model_copy(update={"n_sent": 1}))

    assert len({*first}) == 1
    assert again not in first
    run = client.read_flow_run(UUID(first[0]))
    assert {"launch": launch.id, "trigger": "drift", "reason": launch.reason}.items() <= run.parameters.items()
    assert run.parameters["as_of"] == "2026-03-02T00:00:00+00:00"


def test_a_deployment_that_was_made_anew_is_found(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline], sender: PrefectSender
) -> None:
    pipeline = make_pipeline("renewed")
    small_flows.register(pipeline, pool=_POOL)
    sender.send(_launch("renewed"))
    client.delete_deployment(client.read_deployment_by_name("small-training/renewed").id)
    with pytest.raises(NotSent, match="no deployment small-training/renewed; `everfit up` registers it"):
        sender.send(_launch("renewed"))
    small_flows.register(pipeline, pool=_POOL)

    flow_run = sender.send(_launch("renewed"))

    assert sender.find(flow_run).standing == "waiting"


def test_where_a_flow_run_stands_is_told_in_our_words(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline], sender: PrefectSender
) -> None:
    from prefect.states import Crashed, Pending, Running

    small_flows.register(make_pipeline("standing"), pool=_POOL)
    flow_run = sender.send(_launch("standing"))
    found = [sender.find(flow_run).standing]
    states: list[Any] = [Pending(), Running(), Crashed(message="its process died")]
    for state in states:
        client.set_flow_run_state(UUID(flow_run), state, force=True)
        found.append(sender.find(flow_run).standing)

    assert found == ["waiting", "starting", "under way", "failed"]
    assert sender.find(flow_run).message == "its process died"
    assert sender.find(str(uuid4())).standing == "gone"


def test_a_flow_run_that_is_cancelled_starts_no_more(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline], sender: PrefectSender
) -> None:
    small_flows.register(make_pipeline("cancelled"), pool=_POOL)
    flow_run = sender.send(_launch("cancelled"))

    sender.cancel(flow_run)
    sender.cancel(str(uuid4()))

    assert sender.find(flow_run).standing == "cancelled"


def test_a_server_that_does_not_answer_is_told_as_such(monkeypatch: pytest.MonkeyPatch, sender: PrefectSender) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(NotSent, match="did not take"):
        sender.send(_launch("sent"))
