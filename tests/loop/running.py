"""`everfit up`, as anybody starts it, with all that a test asks of it: commands, hooks, clicks, predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook

from base.settings import Settings
from deployments.child_process import child_environment, free_port
from deployments.prefect_server import use_client
from registry.store import Registry, open_registry

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_Seen = TypeVar("_Seen")
_MAIN = "from console.cli import main; main()"
_PATIENCE_SECONDS = 180.0


@dataclass(frozen=True)
class Running:
    """A set-up that runs, and a registry opened beside it."""

    settings: Settings
    registry: Registry
    addresses: Mapping[str, str]
    pid: int

    def everfit(self, *arguments: str) -> Any:
        """Run a command beside the set-up, and return its document."""
        return json.loads(run_everfit(self.settings, *arguments, "--json"))

    def send_event(self, pipeline: str, secret: str, *, reason: str) -> httpx.Response:
        """Post a CloudEvent of the official SDK, signed by the official library."""
        event = CloudEvent({"source": "/shop", "type": "everfit.retrain.requested"}, {"reason": reason})
        message = http.to_structured_event(event)
        now = datetime.now(UTC)
        signed = {
            "webhook-id": event.get_id(),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(event.get_id(), now, message.body.decode()),
        }
        address = f"{self.addresses['service']}/v1/hooks/{pipeline}"
        return httpx.post(address, content=message.body, headers={**message.headers, **signed}, timeout=30)

    def predict(self, pipeline: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one prediction, and return the answer; empty while no champion serves."""
        answer = httpx.post(
            f"{self.addresses['service']}/v1/models/{pipeline}/predict", json={"rows": [dict(row)]}, timeout=30
        )
        found: dict[str, Any] = answer.json() if answer.status_code == httpx.codes.OK else {}
        return found


def click(pipeline: str, **parameters: Any) -> FlowRun:
    """Create a flow run of the deployment and carry no launch, as Prefect's console and its schedule do."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"continuous-training/{pipeline}")
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)


def read_flow_run(flow_run: str | FlowRun) -> FlowRun:
    """Read a flow run of Prefect's."""
    from uuid import UUID

    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(flow_run) if isinstance(flow_run, str) else flow_run.id)


def wait_until(look: Callable[[], _Seen], reached: Callable[[_Seen], bool] = bool) -> _Seen:
    """Look again and again until what is seen satisfies *reached*."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached(seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r}"
        time.sleep(0.1)
    return seen


def run_everfit(settings: Settings, *arguments: str) -> str:
    """Run a command in a process of its own, and return what it printed."""
    finished = subprocess.run(
        [sys.executable, "-c", _MAIN, *arguments],
        env=_environment(settings),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@contextmanager
def everfit_up(home: Path, *definitions: Path) -> Iterator[Running]:
    """Start everything, and stop it at the end."""
    settings = Settings(home=home, prefect_port=free_port(), service_port=free_port())
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "up", *map(str, definitions), "--json"],
        env=_environment(settings),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    registry = open_registry(settings)
    try:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        with use_client(settings, addresses["prefect_api"]):
            yield Running(settings, registry, addresses, process.pid)
    finally:
        registry.database.close()
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def _environment(settings: Settings) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return {**others, **child_environment(settings), "OMP_NUM_THREADS": "1"}
