"""From a granted request to the first line of the flow: the warm worker beside Prefect's own process worker."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sqlmodel import select

from base.definition import read_pipeline
from base.pipeline import Pipeline
from base.settings import Settings
from benchmarks.figures import Figure
from deployments.child_process import ChildProcess, ChildSpec, child_environment
from deployments.embedded import worker_spec
from deployments.prefect_server import prefect_environment
from deployments.registration import register_deployments
from registry.pipelines import register_pipeline
from registry.runs import list_steps
from registry.store import open_registry
from registry.tables import Run

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

WARM, PROCESS = "warm", "process"
_PROCESS_POOL = "benchmark-process"
_PATIENCE_SECONDS = 120.0
_DEFINITION = """
name: {name}
task: regression
target: y
time: moment
extract: {{source: rows.parquet}}
train: {{estimators: [{{estimator: sklearn.linear_model.Ridge}}]}}
"""


class StartOfRuns:
    """A small pipeline in two work pools, each with its worker; both workers ask equally often."""

    def __init__(self, settings: Settings, api_url: str, folder: Path) -> None:
        self._settings = settings
        self._api_url = api_url
        self._folder = folder
        self.seconds: dict[str, list[float]] = {WARM: [], PROCESS: []}
        self.overheads: dict[str, list[float]] = {WARM: [], PROCESS: []}

    @contextmanager
    def workers(self) -> Iterator[None]:
        """Register both deployments and start both workers."""
        registry = open_registry(self._settings)
        pipelines = {name: _write_pipeline(self._folder / name, name) for name in (WARM, PROCESS)}
        for pipeline in pipelines.values():
            register_pipeline(registry, pipeline)
        register_deployments([pipelines[WARM]])
        register_deployments([pipelines[PROCESS]], pool=_PROCESS_POOL, worker_type="process")
        logs = self._folder / "logs"
        warm = ChildProcess(worker_spec(self._settings), logs / "warm-worker.log")
        process = ChildProcess(self._process_worker(), logs / "process-worker.log")
        try:
            warm.wait_until_healthy()
            process.wait_until_healthy()
            yield
        finally:
            process.stop()
            warm.stop()
            registry.database.close()

    def run_round(self) -> None:
        """Ask each worker for one run, one after the other, and wait for its end."""
        for name in (WARM, PROCESS):
            run = _start_run(name)
            assert run.created is not None
            assert run.start_time is not None
            assert run.end_time is not None
            # Prefect's engine sets the run's state to Running just before it calls the flow.
            self.seconds[name].append((run.start_time - run.created).total_seconds())
            self.overheads[name].append((run.end_time - run.created).total_seconds() - self._own_work(run))

    def figures(self) -> list[Figure]:
        """Sum the rounds up."""
        warm, process = (statistics.median(self.seconds[name]) for name in (WARM, PROCESS))
        poll = self._settings.worker_poll_seconds
        return [
            Figure(
                "warm_start_seconds",
                warm,
                "s",
                f"{process:.2f} s with Prefect's process worker; both ask every {poll:g} s; target 0.5",
            ),
            Figure("process_worker_start_seconds", process, "s", "Prefect's standard worker, the same flow"),
            Figure(
                "granted_overhead_seconds",
                statistics.median(self.overheads[WARM]),
                "s",
                f"a granted run, asked for to completed, without its steps' own work; "
                f"{statistics.median(self.overheads[PROCESS]):.2f} s with Prefect's process worker; target 2",
            ),
        ]

    def _own_work(self, run: FlowRun) -> float:
        registry = open_registry(self._settings)
        with registry.database.read() as session:
            recorded = session.exec(select(Run).where(Run.prefect_run == str(run.id))).one()
            seconds = sum(step.seconds for step in list_steps(session, recorded.id))
        registry.database.close()
        return seconds

    def _process_worker(self) -> ChildSpec:
        return ChildSpec(
            name="process worker",
            module="prefect",
            arguments=("worker", "start", "--pool", _PROCESS_POOL, "--type", "process", "--name", "benchmark"),
            environment={
                **child_environment(self._settings),
                **prefect_environment(self._settings, self._api_url),
                "PREFECT_WORKER_QUERY_SECONDS": f"{self._settings.worker_poll_seconds:g}",
                "PREFECT_WORKER_PREFETCH_SECONDS": "0",
            },
            is_healthy=lambda: _is_online(_PROCESS_POOL),
        )


def _write_pipeline(folder: Path, name: str) -> Pipeline:
    folder.mkdir(parents=True)
    source = np.random.default_rng(0)
    moments = pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC")
    x = source.normal(size=len(moments))
    rows = pd.DataFrame({"moment": moments, "x": x, "y": 2 * x + source.normal(size=len(moments))})
    rows.to_parquet(folder / "rows.parquet")
    (folder / "pipeline.yaml").write_text(_DEFINITION.format(name=name), encoding="utf-8")
    return read_pipeline(folder)


def _start_run(name: str) -> FlowRun:
    """Ask for a run, and return it when it has completed."""
    from prefect.deployments import run_deployment

    run: FlowRun = run_deployment(  # type: ignore[assignment]
        f"continuous-training/{name}",
        # Another reason is another run: nothing of an earlier one is resumed.
        parameters={"reason": f"start at {time.time()}"},
        timeout=_PATIENCE_SECONDS,
        poll_interval=0.2,
    )
    if run.state is None or not run.state.is_completed():
        raise RuntimeError(f"the run of {name!r} ended as {run.state}")
    return run


def _is_online(pool: str) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import WorkerStatus

    with get_client(sync_client=True) as client:
        path: Any = "/work_pools/{work_pool_name}/workers/filter"
        response = client.request("POST", path, path_params={"work_pool_name": pool}, json={})
    return any(worker["status"] == WorkerStatus.ONLINE.value for worker in response.json())
