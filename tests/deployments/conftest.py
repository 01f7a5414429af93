"""Fixtures of floor 8: a server, a pipeline, small flows, a warm worker that runs them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from base.definition import read_pipeline
from base.pipeline import Pipeline
from deployments.child_process import ChildProcess, ChildSpec, child_environment
from deployments.prefect_server import prefect_environment
from deployments.registration import register_deployments
from tests.prefect_server import TestServer

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_Seen = TypeVar("_Seen")

_FLOWS = '''
import os
import time
from datetime import datetime
from typing import Literal

from prefect import flow, get_run_logger


@flow(name="small-training")
def train(
    pipeline: str,
    as_of: datetime | None = None,
    trigger: Literal["person", "schedule", "drift", "performance", "webhook"] = "person",
    reason: str = "",
    launch: str | None = None,
) -> dict:
    """Train, in a manner of speaking."""
    get_run_logger().info("training in process %s with %s threads", os.getpid(), os.environ.get("OMP_NUM_THREADS"))
    if reason == "wait":
        time.sleep(120)
    if reason == "raise":
        raise ValueError("no such data")
    return {"pipeline": pipeline}


@flow(name="small-monitoring")
def monitor(pipeline: str, until: datetime | None = None) -> dict:
    """Monitor, in a manner of speaking; the beginning of time takes long."""
    if until is not None and until.year == 1970:
        time.sleep(120)
    return {"pipeline": pipeline}


@flow(name="small-batch")
def predict(pipeline: str, input: str, output: str) -> dict:
    """Predict, in a manner of speaking."""
    return {"pipeline": pipeline}


@flow(name="small-backtest")
def replay(pipeline: str, price: float | None = None) -> dict:
    """Replay, in a manner of speaking."""
    return {"pipeline": pipeline}
'''
_DEFINITION = """
name: {name}
task: classification
target: late
extract: {{source: data.parquet}}
monitor: {{window: 7 days}}
triggers: {{schedule: "0 5 * * 1", timezone: Europe/Berlin}}
"""
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class SmallFlows:
    """Four flows with the parameters of the real ones, importable in this process and by name in others."""

    folder: Path
    training: str = "small_flows.train"
    monitoring: str = "small_flows.monitor"
    batch: str = "small_flows.predict"
    backtest: str = "small_flows.replay"

    def register(self, *pipelines: Pipeline, pool: str = "everfit", worker_type: str | None = None) -> list[str]:
        """Register the flows for *pipelines*."""
        return register_deployments(
            pipelines,
            pool=pool,
            worker_type=worker_type,
            training=self.training,
            monitoring=self.monitoring,
            batch=self.batch,
            backtest=self.backtest,
        )


@pytest.fixture(scope="session")
def small_flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFlows]:
    folder = tmp_path_factory.mktemp("small-flows")
    (folder / "small_flows.py").write_text(_FLOWS)
    sys.path.insert(0, str(folder))
    yield SmallFlows(folder)
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def make_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pipeline]:
    def make(name: str) -> Pipeline:
        file = tmp_path_factory.mktemp(name) / "pipeline.yaml"
        file.write_text(_DEFINITION.format(name=name))
        return read_pipeline(file)

    return make


def worker_process(
    server: TestServer,
    flows: SmallFlows,
    folder: Path,
    *,
    pool: str = "everfit",
    preload: tuple[str, ...] = ("prefect.engine", "prefect.flow_engine", "small_flows"),
) -> ChildProcess:
    """Start a warm worker that knows the small flows, and wait until it asks for runs."""
    beat = folder / "beat"
    spec = ChildSpec(
        name="warm worker",
        module="deployments.warm_worker",
        arguments=(pool, *preload),
        environment={
            **child_environment(server.settings),
            **prefect_environment(server.settings, server.api_url),
            "PYTHONPATH": str(flows.folder),
            "EVERFIT_WORKER_BEAT": str(beat),
        },
        is_healthy=beat.exists,
    )
    worker = ChildProcess(spec, folder / "worker.log")
    worker.wait_until_healthy()
    return worker


@pytest.fixture(scope="session")
def warm_worker(
    prefect_server: TestServer, small_flows: SmallFlows, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ChildProcess]:
    worker = worker_process(prefect_server, small_flows, tmp_path_factory.mktemp("warm-worker"))
    yield worker
    worker.stop()


def start_run(deployment: str, **parameters: object) -> FlowRun:
    """Ask for a run, as the console does."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(found.id, parameters=parameters)


def wait_for_run(run: FlowRun, reached: Callable[[FlowRun], bool] | None = None) -> FlowRun:
    """Wait until a run has ended, or *reached* says yes."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return wait_until(
            lambda: client.read_flow_run(run.id),
            reached or (lambda now: now.state is not None and now.state.is_final()),
        )


def wait_until(look: Callable[[], _Seen], reached: Callable[[_Seen], bool]) -> _Seen:
    """Look again and again until what is seen satisfies *reached*."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached(seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r}"
        time.sleep(0.05)
    return seen
