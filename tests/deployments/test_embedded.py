"""The embedded set-up starts as a whole, runs the real flows, and stops as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from base.pipeline import Pipeline
from base.settings import Settings
from deployments.child_process import PortInUse, answers, child_environment, free_port
from deployments.embedded import up
from deployments.up_state import AlreadyUp
from tests.deployments.conftest import wait_until

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

_UP = """
import sys
from pathlib import Path
from base.definition import read_pipeline
from base.settings import Settings
from deployments.embedded import up, wait_for_signal
with up(Settings(), [read_pipeline(Path(file)) for file in sys.argv[1:]]) as embedded:
    print(*embedded.deployments, flush=True)
    wait_for_signal()
"""


@contextmanager
def _running_up(settings: Settings, *pipelines: Pipeline) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    process = subprocess.Popen(
        [sys.executable, "-c", _UP, *(str(pipeline.file) for pipeline in pipelines)],
        env={**environment, **child_environment(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()
        finally:
            process.kill()


@pytest.fixture
def free_settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", prefect_port=free_port(), service_port=free_port())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_everything_starts_runs_a_flow_and_stops(
    free_settings: Settings, make_pipeline: Callable[[str], Pipeline], number: signal.Signals
) -> None:
    with _running_up(free_settings, make_pipeline("churn")) as (process, deployments):
        state = json.loads((free_settings.home / "up.json").read_text())
        processes = psutil.Process(process.pid).children(recursive=True)

        run = _run_monitoring(state["addresses"]["prefect_api"], "churn")

        flows = ("continuous-training", "drift-monitoring", "batch-prediction", "backtest")
        assert deployments == [f"{flow}/churn" for flow in flows]
        assert state["pid"] == process.pid
        assert answers(f"{state['addresses']['service']}/healthz")
        assert run["state"]["type"] == "COMPLETED", run["state"]
        with pytest.raises(AlreadyUp, match=f"process {process.pid} since"), up(free_settings):
            pass
        process.send_signal(number)
        wait_until(lambda: [child for child in processes if child.is_running()], lambda living: not living)
        assert process.wait(30) == (0 if number == signal.SIGTERM else -number)
    assert (free_settings.home / "up.json").exists() == (number == signal.SIGKILL)


def test_a_port_in_use_is_told_before_anything_starts(free_settings: Settings) -> None:
    import socket

    told: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_settings.service_port))
        other.listen()

        with pytest.raises(PortInUse, match="EVERFIT_SERVICE_PORT"), up(free_settings, progress=told.append):
            pass

    assert told == []


def _run_monitoring(api_url: str, pipeline: str) -> dict[str, Any]:
    with httpx.Client(base_url=api_url, timeout=30) as client:
        deployment = client.get(f"/deployments/name/drift-monitoring/{pipeline}").json()
        run = client.post(f"/deployments/{deployment['id']}/create_flow_run", json={}).json()

        def read() -> dict[str, Any]:
            found: dict[str, Any] = client.get(f"/flow_runs/{run['id']}").json()
            return found

        return wait_until(read, lambda now: now["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED"))
