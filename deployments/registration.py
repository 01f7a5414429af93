"""Register pipelines with Prefect: a deployment of every flow, with its schedule and event trigger, and their pool."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from base.pipeline import Pipeline
from base.schedules import INTERVAL_START, schedule_interval, schedule_kind
from base.times import describe_duration
from tasks.retraining import RETRAIN_EVENT, pipeline_resource

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

POOL = "everfit"
TRAINING = "flows.continuous_training.continuous_training"
MONITORING = "flows.drift_monitoring.drift_monitoring"
BATCH = "flows.batch_prediction.batch_prediction"
BACKTEST = "flows.backtest.backtest"
# As the flow's own defaults where the event says nothing. The value is rendered as JSON, so that a missing one
# becomes null and stays null, where a plain template would make it the text "None" or "".
_EVENT_PARAMETERS = {"as_of": "none", "trigger": "'drift'", "reason": "''", "launch": "none"}


def register_deployments(
    pipelines: Sequence[Pipeline],
    *,
    pool: str = POOL,
    worker_type: str | None = None,
    concurrency: int | None = None,
    training: str = TRAINING,
    monitoring: str = MONITORING,
    batch: str = BATCH,
    backtest: str = BACKTEST,
) -> list[str]:
    """Register every flow for every pipeline; the same again changes nothing.

    What a person has paused in Prefect's console, a schedule or a trigger, stays paused.

    Parameters
    ----------
    pipelines
        Registered pipelines: their flows are given the name alone.
    pool, worker_type, concurrency
        The work pool; created if it is not there, of the warm worker's type unless told otherwise, and limited to
        *concurrency* runs at once (None: no limit).
    training, monitoring, batch, backtest
        The flows, as import paths.

    Returns
    -------
    list of str
        The deployments, as ``flow/pipeline``.
    """
    from prefect.client.orchestration import get_client
    from prefect.flows import load_flow_from_entrypoint

    flows: dict[str, Any] = {
        path: load_flow_from_entrypoint(path, use_placeholder_flow=False)
        for path in (training, monitoring, batch, backtest)
    }
    registered = []
    with get_client(sync_client=True) as client:
        _ensure_pool(client, pool, worker_type, concurrency)
        for pipeline in pipelines:
            for path, schedules in (
                (training, _training_schedules(pipeline)),
                (monitoring, _monitoring_schedules(pipeline)),
                (batch, []),
                (backtest, []),
            ):
                flow = flows[path]
                limit = None if path == training else 1
                deployment_id = _deploy(client, flow, path, pipeline, schedules, pool, limit)
                if path == training:
                    _ensure_trigger(client, deployment_id, pipeline)
                registered.append(f"{flow.name}/{pipeline.name}")
    return registered


def event_parameters(pipeline: str) -> dict[str, Any]:
    """Return the parameters of a run that an event asks for, as templates over its payload.

    Examples
    --------
    >>> event_parameters("churn")["reason"]["value"]["template"]
    "{{ event.payload.reason | default('', true) | tojson }}"
    """
    templates = {
        name: {
            "__prefect_kind": "json",
            "value": {
                "__prefect_kind": "jinja",
                "template": f"{{{{ event.payload.{name} | default({otherwise}, true) | tojson }}}}",
            },
        }
        for name, otherwise in _EVENT_PARAMETERS.items()
    }
    return {"pipeline": pipeline, **templates}


def _ensure_pool(client: SyncPrefectClient, name: str, worker_type: str | None, concurrency: int | None) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        # warm_worker imports all of Prefect's workers, which only the first registration needs.
        from prefect.workers.base import BaseWorker

        from deployments.warm_worker import WORKER_TYPE

        kind = worker_type or WORKER_TYPE
        worker = BaseWorker.get_worker_class_from_type(kind)
        template = worker.get_default_base_job_template() if worker is not None else {}
        client.create_work_pool(
            WorkPoolCreate(
                name=name,
                type=kind,
                base_job_template=template,
                concurrency_limit=concurrency,
                description="Everfit's trainings and monitoring",
            )
        )
    else:
        if pool.concurrency_limit != concurrency:
            client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=concurrency))


def _training_schedules(pipeline: Pipeline) -> list[DeploymentScheduleCreate]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    triggers = pipeline.spec.triggers
    if triggers.schedule is None:
        return []
    schedule: CronSchedule | IntervalSchedule | RRuleSchedule
    match schedule_kind(triggers.schedule):
        case "cron":
            schedule = CronSchedule(cron=triggers.schedule, timezone=triggers.timezone)
        case "interval":
            interval = schedule_interval(triggers.schedule)
            schedule = IntervalSchedule(interval=interval, anchor_date=INTERVAL_START, timezone=triggers.timezone)
        case "recurrence":
            schedule = RRuleSchedule(rrule=triggers.schedule, timezone=triggers.timezone)
    return [
        DeploymentScheduleCreate(
            schedule=schedule,
            slug="training",
            parameters={"trigger": "schedule", "reason": f"schedule {triggers.schedule} ({triggers.timezone})"},
        )
    ]


def _monitoring_schedules(pipeline: Pipeline) -> list[DeploymentScheduleCreate]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    window: timedelta = pipeline.spec.monitor.period
    return [
        DeploymentScheduleCreate(
            schedule=IntervalSchedule(interval=window, anchor_date=INTERVAL_START, timezone="UTC"), slug="monitoring"
        )
    ]


def _deploy(
    client: SyncPrefectClient,
    flow: Any,
    path: str,
    pipeline: Pipeline,
    schedules: list[DeploymentScheduleCreate],
    pool: str,
    limit: int | None,
) -> UUID:
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.exceptions import ObjectNotFound
    from prefect.utilities.callables import parameter_schema

    before: DeploymentResponse | None
    try:
        before = client.read_deployment_by_name(f"{flow.name}/{pipeline.name}")
    except ObjectNotFound:
        before = None
    active = {} if before is None else {schedule.slug: schedule.active for schedule in before.schedules}
    window = describe_duration(pipeline.spec.monitor.period)
    wanted: dict[str, Any] = {
        "name": pipeline.name,
        "description": flow.description or pipeline.spec.description,
        "parameters": {"pipeline": pipeline.name},
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "entrypoint": path,
        # Two monitors of one pipeline have nothing to tell each other: the second waits for the first. Of trainings
        # the arbiter lets one begin, and tells the others at once what they went into.
        "concurrency_limit": limit,
        "concurrency_options": None
        if limit is None
        else ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        "work_pool_name": pool,
        "pull_steps": [],
        "tags": ["everfit", pipeline.spec.task, f"window {window}"],
        "paused": before.paused if before is not None else False,
        "schedules": [
            schedule.model_copy(update={"active": active.get(schedule.slug, True)}) for schedule in schedules
        ],
    }
    if before is not None and _is_unchanged(before, wanted):
        return before.id
    # Creating one that exists replaces it under its id, the schedules included.
    return client.create_deployment(flow_id=client.create_flow_from_name(flow.name), **wanted)


def _is_unchanged(before: DeploymentResponse, wanted: dict[str, Any]) -> bool:
    simple = ("description", "parameters", "enforce_parameter_schema", "entrypoint", "work_pool_name", "tags")
    if any(getattr(before, name) != wanted[name] for name in simple):
        return False
    if before.parameter_openapi_schema != wanted["parameter_openapi_schema"]:
        return False
    found_limit = None if before.global_concurrency_limit is None else before.global_concurrency_limit.limit
    if (found_limit, before.concurrency_options) != (wanted["concurrency_limit"], wanted["concurrency_options"]):
        return False
    fields = {"schedule", "active", "slug", "parameters"}
    found = [schedule.model_dump(mode="json", include=fields) for schedule in before.schedules]
    return found == [schedule.model_dump(mode="json", include=fields) for schedule in wanted["schedules"]]


def _ensure_trigger(client: SyncPrefectClient, deployment_id: UUID, pipeline: Pipeline) -> None:
    wanted = _trigger(deployment_id, pipeline)
    found = client.read_automations_by_name(wanted.name)
    fields = {"description", "trigger", "actions"}
    for automation in found[:1]:
        if automation.model_dump(mode="json", include=fields) != wanted.model_dump(mode="json", include=fields):
            # Prefect's server lets nobody change an automation's owner, nor name it again in a change.
            client.create_automation(wanted.model_copy(update={"enabled": automation.enabled}))
            client.delete_automation(automation.id)
    for surplus in found[1:]:
        client.delete_automation(surplus.id)
    if not found:
        client.create_automation(wanted)


def _trigger(deployment_id: UUID, pipeline: Pipeline) -> AutomationCore:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=f"retrain {pipeline.name}",
        description=f"Trains {pipeline.name} when {RETRAIN_EVENT} is emitted for it.",
        trigger=EventTrigger(
            expect={RETRAIN_EVENT},
            match=ResourceSpecification.model_validate({"prefect.resource.id": pipeline_resource(pipeline.name)}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(source="selected", deployment_id=deployment_id, parameters=event_parameters(pipeline.name))
        ],
        owner_resource=f"prefect.deployment.{deployment_id}",
    )
