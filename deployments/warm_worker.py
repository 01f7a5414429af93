"""A Prefect worker whose flow runs start at once: it forks them from a process with the imports done.

``python -m deployments.warm_worker POOL`` runs it against the server that ``PREFECT_API_URL`` names. Prefect's
process worker starts a Python and imports everything for each run, which takes seconds; it works with the same
deployments, on a pool of its type.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import psutil
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import InfrastructureNotFound
from prefect.flows import load_flow_from_flow_run
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle, create_isolated_termination_scope
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field

from base.errors import EverfitError
from base.settings import Settings
from base.times import utc_now
from deployments.forked_runs import ForkedRuns

WORKER_TYPE = "everfit-warm"
# What every flow run of Everfit imports. Great Expectations and Evidently are imported by the steps that need
# them; once shared by all forks, they cost memory a single time.
PRELOAD = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.deployments.steps.core",
    "prefect._internal.metrics",
    "anyio._backends._asyncio",
    "encodings.idna",
    "rich._emoji_codes",
    "pandas",
    "pyarrow.dataset",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "skops.io",
    "flows.continuous_training",
    "flows.drift_monitoring",
    "flows.batch_prediction",
    "flows.backtest",
)
# A run without a process that has not moved for so long was lost by a worker that died.
_LOST_AFTER = timedelta(seconds=30)


class WarmConfiguration(BaseJobConfiguration):
    """What a deployment may say about its runs: environment variables and the working folder."""

    working_dir: str | None = Field(default=None)

    def prepare_for_flow_run(
        self, flow_run: FlowRun, deployment: DeploymentResponse | None = None, *arguments: Any, **options: Any
    ) -> None:
        """Say which function to run, which spares the run's process the question where its code comes from."""
        super().prepare_for_flow_run(flow_run, deployment, *arguments, **options)
        entrypoint = None if deployment is None or deployment.pull_steps else deployment.entrypoint
        if entrypoint is not None and ":" not in entrypoint:
            self.env.setdefault("PREFECT__FLOW_ENTRYPOINT", entrypoint)


class WarmVariables(BaseVariables):
    """The form of the above in Prefect's console."""

    working_dir: str | None = Field(
        default=None, title="Working folder", description="Where the run's process works; default: the worker's folder."
    )


class ForkStarter:
    """Starts a flow run's process for Prefect's executor, which does the rest: cancellation, crashes, hooks."""

    def __init__(self, runs: ForkedRuns, configuration: WarmConfiguration, executors: FlowRunExecutorContext) -> None:
        self._runs = runs
        self._configuration = configuration
        self._executors = executors

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Fork the run, hand over its process, return when it has ended."""
        environment = {name: value for name, value in self._configuration.env.items() if value is not None}
        environment["PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS"] = "false"
        with contextlib.suppress(RuntimeError):
            port, token = self._executors.control_channel.register(flow_run.id)
            environment |= {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}
        run = await self._runs.fork(str(flow_run.id), environment, self._configuration.working_dir)
        assert run.pid is not None
        task_status.started(
            ProcessHandle(run, termination_scope=create_isolated_termination_scope(run.pid))  # type: ignore[arg-type]
        )
        await run.ended.wait()


class WarmWorker(BaseWorker[WarmConfiguration, WarmVariables, BaseWorkerResult]):
    """The worker of type ``everfit-warm``."""

    type = WORKER_TYPE
    job_configuration = WarmConfiguration
    job_configuration_variables = WarmVariables
    _display_name = "Everfit, warm"
    _description = "Forks each flow run from a process in which Everfit is imported already: it starts at once."
    _documentation_url = "https://docs.prefect.io/v3/concepts/workers"
    _logo_url = ""

    def __init__(self, *arguments: Any, preload: tuple[str, ...] = PRELOAD, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._forked = ForkedRuns(preload)
        self._executors: FlowRunExecutorContext | None = None
        self._is_stopping = False
        # A file whose time tells a supervisor when this worker last asked for runs.
        self._beat = Path(beat) if (beat := os.environ.get("EVERFIT_WORKER_BEAT")) else None

    async def setup(self) -> None:
        """Import everything once, then connect."""
        await self._forked.start()
        await super().setup()
        self._executors = await self._exit_stack.enter_async_context(FlowRunExecutorContext())

    async def teardown(self, *exc_info: Any) -> None:
        """Let go of the server, then of the fork server."""
        await super().teardown(*exc_info)
        await self._forked.stop()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: WarmConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> BaseWorkerResult:
        """Run one flow run to its end."""
        assert self._executors is not None
        starter = ForkStarter(self._forked, configuration, self._executors)
        executor = self._executors.create_executor(
            flow_run, starter, resolve_flow=load_flow_from_flow_run, propose_submitting=False
        )
        async with anyio.create_task_group() as tasks:
            handle: ProcessHandle = await tasks.start(executor.submit)
            assert handle.pid is not None
            if task_status is not None:
                task_status.started(_name_process(handle.pid))
        return BaseWorkerResult(identifier=str(handle.pid), status_code=handle.returncode or 0)

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: WarmConfiguration, grace_seconds: int = 30
    ) -> None:
        """Kill the process of a run that was cancelled before it began."""
        if not _lives_here(infrastructure_pid):
            raise InfrastructureNotFound(f"the process {infrastructure_pid} does not run here")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(infrastructure_pid.split(":")[1]), signal.SIGKILL)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Ask for granted runs and start them, unless the worker is about to stop."""
        if self._is_stopping:
            return []
        runs = await super().get_and_submit_flow_runs()
        if self._beat is not None:
            self._beat.touch()
        return runs

    async def sync_with_backend(self) -> None:
        """Tell the server that this worker lives, and which runs died with an earlier one."""
        await super().sync_with_backend()
        await self.report_lost_runs()

    async def report_lost_runs(self) -> list[UUID]:
        """Mark as crashed what Prefect believes to run on this machine, and does not.

        A worker that is killed takes its runs along and cannot say so: they would run for ever in the console,
        and hold their places in the pool.
        """
        believed = await self.client.read_flow_runs(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._work_pool_name])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
                )
            ),
        )
        lost = [run for run in believed if run.id not in self._submitting_flow_run_ids and _is_lost(run)]
        for run in lost:
            await self._propose_crashed_state(run, "The process of this run died with its worker.")
        return [run.id for run in lost]

    async def stop_runs(self) -> None:
        """Start nothing more and end what runs; Prefect learns of each run's end."""
        self._is_stopping = True
        await self._forked.stop_runs()


def _name_process(pid: int) -> str:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = 0.0
    return f"{socket.gethostname()}:{pid}:{started:.0f}"


def _lives_here(process: str) -> bool:
    host, _, pid_and_start = process.partition(":")
    return host == socket.gethostname() and _name_process(int(pid_and_start.split(":")[0])) == process


def _is_lost(run: FlowRun) -> bool:
    if run.infrastructure_pid:
        return run.infrastructure_pid.startswith(f"{socket.gethostname()}:") and not _lives_here(run.infrastructure_pid)
    return (
        run.state is not None and run.state.type == StateType.PENDING and utc_now() - run.state.timestamp > _LOST_AFTER
    )


async def work(pool: str, *, preload: tuple[str, ...] = PRELOAD) -> None:
    """Run a worker until SIGTERM or SIGINT; its runs are ended first, and reported."""
    worker = WarmWorker(work_pool_name=pool, name=f"warm worker on {socket.gethostname()}", preload=preload)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    working = asyncio.create_task(worker.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        await worker.stop_runs()
        # The executors see their processes end and report it; then nothing is under way any more.
        await asyncio.sleep(0.2)
        working.cancel()
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


def main() -> None:
    """Run the worker: ``python -m deployments.warm_worker POOL [MODULE…]``, the modules to import beforehand."""
    pool, *preload = sys.argv[1:]
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", str(Settings().worker_poll_seconds))
    # Prefect would take runs ten seconds ahead of their time, to make up for the slow start that this one has not.
    os.environ.setdefault("PREFECT_WORKER_PREFETCH_SECONDS", "0")
    from deployments.prefect_settings import reread_settings

    reread_settings()
    try:
        asyncio.run(work(pool, preload=tuple(preload) or PRELOAD))
    except EverfitError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
