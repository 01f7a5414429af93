"""Registration is idempotent, keeps what a person paused, and an event starts a run with the right parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from base.pipeline import Pipeline
from deployments.registration import BACKTEST, BATCH
from tasks.retraining import RETRAIN_EVENT, pipeline_resource
from tests.deployments.conftest import SmallFlows, wait_until
from tests.prefect_server import TestServer

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

pytestmark = pytest.mark.prefect

# Nobody works on this pool: its runs stay as they were created.
_POOL = "nobody"


@pytest.fixture
def client(prefect_server: TestServer) -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


def _describe(client: SyncPrefectClient, pipeline: str) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for flow in ("small-training", "small-monitoring"):
        deployment = client.read_deployment_by_name(f"{flow}/{pipeline}")
        described[flow] = deployment.model_dump(mode="json", exclude={"last_polled", "status"})
    described["automations"] = [
        automation.model_dump(mode="json")
        for automation in client.read_automations()
        if automation.name == f"retrain {pipeline}"
    ]
    return described


def test_every_flow_gets_a_deployment_with_its_schedule_parameters_and_trigger(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    registered = small_flows.register(make_pipeline("described"), pool=_POOL)

    described = _describe(client, "described")
    training, monitoring = described["small-training"], described["small-monitoring"]
    flows = ("small-training", "small-monitoring", "small-batch", "small-backtest")
    assert registered == [f"{flow}/described" for flow in flows]
    assert training["parameters"] == {"pipeline": "described"}
    assert training["enforce_parameter_schema"] is True
    assert training["entrypoint"] == "small_flows.train"
    assert training["work_pool_name"] == _POOL
    assert [schedule["schedule"]["cron"] for schedule in training["schedules"]] == ["0 5 * * 1"]
    assert [schedule["schedule"]["timezone"] for schedule in training["schedules"]] == ["Europe/Berlin"]
    assert [schedule["schedule"]["interval"] for schedule in monitoring["schedules"]] == [7 * 86400]
    properties = {"pipeline", "as_of", "trigger", "reason", "launch"}
    assert set(training["parameter_openapi_schema"]["properties"]) == properties
    assert (training["global_concurrency_limit"], monitoring["global_concurrency_limit"]["limit"]) == (None, 1)
    (automation,) = described["automations"]
    assert automation["trigger"]["expect"] == ["everfit.retrain.requested"]
    assert automation["trigger"]["match"] == {"prefect.resource.id": "everfit.pipeline.described"}


def test_the_batch_flow_gets_a_form_that_asks_for_what_it_needs(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    replace(small_flows, batch=BATCH).register(make_pipeline("predicted"), pool=_POOL)

    deployment = client.read_deployment_by_name("batch-prediction/predicted")
    schema = deployment.parameter_openapi_schema
    assert schema is not None
    assert deployment.parameters == {"pipeline": "predicted"}
    assert deployment.schedules == []
    assert schema["required"] == ["pipeline", "input", "output"]
    assert schema["properties"]["max_rejected"]["maximum"] == 1
    assert "Parquet, CSV or JSON lines" in schema["properties"]["input"]["description"]


def test_the_backtest_flow_gets_a_form_that_needs_nothing_more(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    replace(small_flows, backtest=BACKTEST).register(make_pipeline("replayed"), pool=_POOL)

    deployment = client.read_deployment_by_name("backtest/replayed")
    schema = deployment.parameter_openapi_schema
    assert schema is not None
    assert deployment.parameters == {"pipeline": "replayed"}
    assert deployment.schedules == []
    assert schema["required"] == ["pipeline"]
    assert set(schema["properties"]) == {"pipeline", "start", "stop", "policies", "price", "budget"}
    assert "in windows of full loss" in schema["properties"]["price"]["description"]


def test_registering_again_changes_nothing(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    pipeline = make_pipeline("twice")
    small_flows.register(pipeline, pool=_POOL)
    before = _describe(client, "twice")

    small_flows.register(pipeline, pool=_POOL)

    assert _describe(client, "twice") == before


def test_a_changed_definition_replaces_the_schedule_and_keeps_the_rest(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    pipeline = make_pipeline("rescheduled")
    small_flows.register(pipeline, pool=_POOL)
    before = _describe(client, "rescheduled")
    triggers = pipeline.spec.triggers.model_copy(update={"schedule": None})
    changed = pipeline.model_copy(update={"spec": pipeline.spec.model_copy(update={"triggers": triggers})})

    small_flows.register(changed, pool=_POOL)

    after = _describe(client, "rescheduled")
    assert after["small-training"]["schedules"] == []
    assert after["small-training"]["id"] == before["small-training"]["id"]
    assert after["automations"] == before["automations"]


def test_what_a_person_paused_stays_paused(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    pipeline = make_pipeline("paused")
    small_flows.register(pipeline, pool=_POOL)
    deployment = client.read_deployment_by_name("small-training/paused")
    client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=False)
    (automation,) = client.read_automations_by_name("retrain paused")
    client.pause_automation(automation.id)
    monitor = pipeline.spec.monitor.model_copy(update={"min_rows": 7})
    changed = pipeline.spec.model_copy(update={"monitor": monitor, "description": "changed"})

    small_flows.register(pipeline.model_copy(update={"spec": changed}), pool=_POOL)

    after = _describe(client, "paused")
    assert [schedule["active"] for schedule in after["small-training"]["schedules"]] == [False]
    assert [automation["enabled"] for automation in after["automations"]] == [False]


def test_a_run_with_a_parameter_of_another_type_is_refused(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    small_flows.register(make_pipeline("typed"), pool=_POOL)
    deployment = client.read_deployment_by_name("small-training/typed")

    with pytest.raises(PrefectHTTPStatusError, match="is not one of"):
        client.create_flow_run_from_deployment(deployment.id, parameters={"trigger": "whim"})


@pytest.mark.parametrize(
    ("as_of", "trigger", "reason"),
    [
        (datetime(2013, 5, 1, tzinfo=UTC), "drift", "3 of 5 columns drifted: \"wind\", {{ 'humidity' }} & <b>°C</b>"),
        (None, "performance", ""),
    ],
)
def test_an_event_starts_a_run_with_what_it_says(
    client: SyncPrefectClient,
    small_flows: SmallFlows,
    make_pipeline: Callable[[str], Pipeline],
    as_of: datetime | None,
    trigger: str,
    reason: str,
) -> None:
    name = f"asked_{trigger}"
    small_flows.register(make_pipeline(name), pool=_POOL)

    event = {
        "id": str(uuid4()),
        "event": RETRAIN_EVENT,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": pipeline_resource(name)},
        "payload": {"as_of": None if as_of is None else as_of.isoformat(), "trigger": trigger, "reason": reason},
    }
    client.request("POST", "/events", json=[event])

    (run,) = wait_until(lambda: _runs(client, name), lambda runs: len(runs) > 0)
    expected = None if as_of is None else as_of.isoformat()
    assert run.parameters == {
        "pipeline": name,
        "as_of": expected,
        "trigger": trigger,
        "reason": reason,
        "launch": None,
    }


def test_an_event_without_a_payload_starts_a_run_with_the_usual_parameters(
    client: SyncPrefectClient, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]
) -> None:
    small_flows.register(make_pipeline("bare"), pool=_POOL)
    event = {
        "id": str(uuid4()),
        "event": "everfit.retrain.requested",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "everfit.pipeline.bare"},
    }

    client.request("POST", "/events", json=[event])

    (run,) = wait_until(lambda: _runs(client, "bare"), lambda runs: len(runs) > 0)
    assert run.parameters == {"pipeline": "bare", "as_of": None, "trigger": "drift", "reason": "", "launch": None}


def _runs(client: SyncPrefectClient, pipeline: str) -> list[FlowRun]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    deployment = client.read_deployment_by_name(f"small-training/{pipeline}")
    runs = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])))
    return [run for run in runs if run.created_by is not None and run.created_by.type == "AUTOMATION"]
