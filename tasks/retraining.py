"""Ask for a training by an event, which a deployment's trigger turns into a run."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from base.errors import RunFailed
from base.times import utc_now

RETRAIN_EVENT = "everfit.retrain.requested"


class RequestNotTaken(RunFailed):
    """Prefect's server did not take the event that asks for a training."""

    def __init__(self, pipeline: str, problem: str) -> None:
        super().__init__(
            f"the request to train {pipeline!r} did not reach Prefect: {problem}; nothing was started, "
            "ask again when the server answers"
        )
        self.pipeline = pipeline


def pipeline_resource(pipeline: str) -> str:
    """Name a pipeline as the resource of its events."""
    return f"everfit.pipeline.{pipeline}"


def request_retraining(
    pipeline: str, *, as_of: datetime | None, trigger: str, reason: str, launch: str | None = None
) -> UUID:
    """Ask for a training; when this returns, the server has taken the event.

    Prefect's own ``emit_event`` hands the event to a thread that sends it some time later, or never if the
    process ends first.

    Raises
    ------
    RequestNotTaken
        If the server cannot be reached or refuses the event.
    """
    import httpx
    from prefect.client.orchestration import get_client

    event_id = uuid4()
    event: dict[str, Any] = {
        "id": str(event_id),
        "occurred": utc_now().isoformat(),
        "event": RETRAIN_EVENT,
        "resource": {"prefect.resource.id": pipeline_resource(pipeline), "prefect.resource.name": pipeline},
        "related": [],
        "payload": {
            "as_of": None if as_of is None else as_of.isoformat(),
            "trigger": trigger,
            "reason": reason,
            **({} if launch is None else {"launch": launch}),
        },
    }
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event]).raise_for_status()
    except (httpx.HTTPError, ValueError) as error:
        raise RequestNotTaken(pipeline, str(error)) from error
    return event_id
