"""Hand launches to Prefect: a flow run of the pipeline's deployment, created by a call that the server answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID

from base.errors import EverfitError, RunFailed
from registry.tables import Launch

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

TRAINING_FLOW = "continuous-training"

Standing = Literal["waiting", "starting", "under way", "completed", "failed", "cancelling", "cancelled", "gone"]
"""Where a flow run stands; ``starting``: a worker has taken it; ``gone``: this server does not know it."""


class NotSent(RunFailed):
    """Prefect's server did not take a launch; the launch waits, and is sent again."""


@dataclass(frozen=True)
class FlowRunStanding:
    """Where a flow run stands, since when, and what Prefect says of it."""

    standing: Standing
    since: datetime | None = None
    message: str = ""


class Sender(Protocol):
    """What starts launches and knows what became of them."""

    def send(self, launch: Launch) -> str:
        """Start a launch and return its flow run; the same again, with the same number sent, returns the same one."""

    def find(self, flow_run: str) -> FlowRunStanding:
        """Say where a flow run stands."""

    def cancel(self, flow_run: str) -> None:
        """Cancel a flow run that has not begun."""


class PrefectSender:
    """The sender that talks to Prefect's server.

    The idempotency key of a flow run is the launch and how often it was sent: a sender that dies, or loses the
    answer, sends again and gets the flow run that the server has made already.

    Parameters
    ----------
    flow : str
        The name of the flow whose deployments train.
    """

    def __init__(self, *, flow: str = TRAINING_FLOW) -> None:
        self._flow = flow

    def send(self, launch: Launch) -> str:
        """Create the flow run of a launch.

        Raises
        ------
        NotSent
            If the server does not answer, refuses, or has no deployment of the pipeline.
        """
        name = f"{self._flow}/{launch.pipeline}"
        with _told_as_not_sent(name), _client() as client:
            # Asked for each time: a deployment that was made anew has another id.
            deployment = client.read_deployment_by_name(name)
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters=flow_parameters(launch), idempotency_key=f"{launch.id}:{launch.n_sent}"
            )
        return str(run.id)

    def find(self, flow_run: str) -> FlowRunStanding:
        """Ask Prefect where a flow run stands.

        Raises
        ------
        NotSent
            If the server does not answer.
        """
        from prefect.exceptions import ObjectNotFound

        with _told_as_not_sent(), _client() as client:
            try:
                state = client.read_flow_run(UUID(flow_run)).state
            except ObjectNotFound:
                return FlowRunStanding("gone", message="this server does not know the flow run")
        if state is None:
            return FlowRunStanding("waiting")
        return FlowRunStanding(_STANDINGS.get(state.type.value, "under way"), state.timestamp, state.message or "")

    def cancel(self, flow_run: str) -> None:
        """Cancel a flow run; one that is gone or has ended is left as it is.

        Raises
        ------
        NotSent
            If the server does not answer.
        """
        from prefect.exceptions import ObjectNotFound
        from prefect.states import Cancelled

        with _told_as_not_sent(), _client() as client:
            try:
                client.set_flow_run_state(UUID(flow_run), Cancelled(message="sent again, since nobody began it"))
            except ObjectNotFound:
                return


_STANDINGS: dict[str, Standing] = {
    "SCHEDULED": "waiting",
    "PENDING": "starting",
    "PAUSED": "under way",
    "RUNNING": "under way",
    "CANCELLING": "cancelling",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "cancelled",
}


def flow_parameters(launch: Launch) -> dict[str, Any]:
    """Say with which parameters a launch's flow run starts; the rest are the deployment's own.

    Examples
    --------
    >>> launch = Launch(id="l-1", pipeline="churn", trigger="t-1", kind="drift", reason="6 of 17 features drifted")
    >>> flow_parameters(launch)
    {'launch': 'l-1', 'trigger': 'drift', 'reason': '6 of 17 features drifted', 'as_of': None}
    """
    as_of = None if launch.as_of is None else launch.as_of.isoformat()
    return {"launch": launch.id, "trigger": launch.kind, "reason": launch.reason, "as_of": as_of}


def _client() -> SyncPrefectClient:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


@contextmanager
def _told_as_not_sent(deployment: str = "") -> Iterator[None]:
    import httpx
    from prefect.exceptions import ObjectNotFound, PrefectException

    try:
        yield
    except EverfitError:
        raise
    except ObjectNotFound as error:
        raise NotSent(
            f"Prefect's server has no deployment {deployment}; `everfit up` registers it, or `prefect deploy`"
        ) from error
    except (httpx.HTTPError, PrefectException, OSError, RuntimeError) as error:
        raise NotSent(f"Prefect's server did not take it: {type(error).__name__}: {error}".rstrip(": ")) from error
