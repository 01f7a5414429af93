"""The warm worker runs flows in forks, reports their crashes, cancels them, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from base.pipeline import Pipeline
from deployments.child_process import ChildFailed, ChildProcess
from tests.deployments.conftest import SmallFlows, start_run, wait_for_run, wait_until, worker_process
from tests.prefect_server import TestServer

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _deployments(prefect_server: TestServer, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline]) -> None:
    small_flows.register(make_pipeline("churn"))


def test_a_run_completes_in_a_fork_of_the_preloaded_process(warm_worker: ChildProcess) -> None:
    run = wait_for_run(start_run("small-training/churn"))

    assert run.state is not None
    assert run.state.is_completed(), run.state


def test_a_run_has_the_threads_of_the_settings_and_its_log_reaches_prefect(warm_worker: ChildProcess) -> None:
    run = wait_for_run(start_run("small-training/churn"))

    lines = wait_until(lambda: _read_log(run), lambda lines: any("training in process" in line for line in lines))
    assert any(line.endswith("with 1 threads") for line in lines), lines


def test_a_flow_that_raises_is_a_failed_run(warm_worker: ChildProcess) -> None:
    run = wait_for_run(start_run("small-training/churn", reason="raise"))

    assert run.state is not None
    assert run.state.is_failed(), run.state
    assert "no such data" in (run.state.message or "")


def test_a_run_whose_process_is_killed_is_reported_as_crashed(warm_worker: ChildProcess) -> None:
    run = wait_for_run(start_run("small-training/churn", reason="wait"), _is_running)

    _process_of(run).kill()

    ended = wait_for_run(run)
    assert ended.state is not None
    assert ended.state.is_crashed(), ended.state


def test_cancelling_a_run_ends_its_process(warm_worker: ChildProcess) -> None:
    run = wait_for_run(start_run("small-training/churn", reason="wait"), _is_running)
    process = _process_of(run)

    _cancel(run)

    ended = wait_for_run(run)
    assert ended.state is not None
    assert ended.state.is_cancelled(), ended.state
    wait_until(lambda: _lives(process), lambda lives: not lives)


def test_a_fork_server_that_dies_crashes_its_runs_and_is_replaced(warm_worker: ChildProcess) -> None:
    run = wait_for_run(start_run("small-training/churn", reason="wait"), _is_running)

    _fork_server_of(warm_worker).kill()

    crashed = wait_for_run(run)
    assert crashed.state is not None
    assert crashed.state.is_crashed(), crashed.state
    after = wait_for_run(start_run("small-training/churn"))
    assert after.state is not None
    assert after.state.is_completed(), after.state


def test_a_worker_that_is_told_to_stop_ends_its_runs_and_reports_them(
    prefect_server: TestServer, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline], tmp_path: Path
) -> None:
    small_flows.register(make_pipeline("stopped"), pool="stopped")
    worker = worker_process(prefect_server, small_flows, tmp_path, pool="stopped")
    run = wait_for_run(start_run("small-training/stopped", reason="wait"), _is_running)
    processes = [_process_of(run), _fork_server_of(worker)]

    worker.stop()

    ended = wait_for_run(run)
    assert ended.state is not None
    assert ended.state.is_crashed(), ended.state
    assert [process for process in processes if _lives(process)] == []


def test_a_killed_worker_leaves_no_process_and_the_next_one_reports_its_runs(
    prefect_server: TestServer, small_flows: SmallFlows, make_pipeline: Callable[[str], Pipeline], tmp_path: Path
) -> None:
    small_flows.register(make_pipeline("killed"), pool="killed")
    worker = worker_process(prefect_server, small_flows, tmp_path, pool="killed")
    run = wait_for_run(start_run("small-training/killed", reason="wait"), _is_running)
    processes = [_process_of(run), _fork_server_of(worker)]
    # A run that cannot report its own end, since its machine failed, say.
    processes[0].suspend()

    os.kill(worker.pid, signal.SIGKILL)

    wait_until(lambda: [process for process in processes if _lives(process)], lambda living: not living)
    worker.stop()
    (tmp_path / "beat").unlink()
    successor = worker_process(prefect_server, small_flows, tmp_path, pool="killed")
    ended = wait_for_run(run)
    after = wait_for_run(start_run("small-training/killed"))
    successor.stop()
    assert ended.state is not None
    assert ended.state.is_crashed(), ended.state
    assert after.state is not None
    assert after.state.is_completed(), after.state


def test_a_second_monitoring_of_a_pipeline_waits_for_the_first(warm_worker: ChildProcess) -> None:
    first = wait_for_run(start_run("small-monitoring/churn", until="1970-01-01T00:00:00Z"), _is_running)

    second = wait_for_run(
        start_run("small-monitoring/churn"), lambda run: _state_name(run) == "AwaitingConcurrencySlot"
    )

    _process_of(first).kill()
    assert _state_name(wait_for_run(second)) == "Completed"


def test_a_second_training_is_heard_at_once_since_the_arbiter_has_it_merged(warm_worker: ChildProcess) -> None:
    first = wait_for_run(start_run("small-training/churn", reason="wait"), _is_running)

    second = wait_for_run(start_run("small-training/churn"))

    assert _state_name(second) == "Completed"
    process = _process_of(first)
    assert _lives(process)
    process.kill()


def test_an_import_that_fails_is_told_at_once(
    prefect_server: TestServer, small_flows: SmallFlows, tmp_path: Path
) -> None:
    with pytest.raises(ChildFailed, match="No module named 'no_such_flows'"):
        worker_process(prefect_server, small_flows, tmp_path, preload=("no_such_flows",))


def _read_log(run: FlowRun) -> list[str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
    return [log.message for log in logs]


def _cancel(run: FlowRun) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())


def _fork_server_of(worker: ChildProcess) -> psutil.Process:
    (server,) = [
        child for child in psutil.Process(worker.pid).children() if "deployments.fork_server" in child.cmdline()
    ]
    return server


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _state_name(run: FlowRun) -> str | None:
    return None if run.state is None else run.state.name


def _is_running(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_running() and run.infrastructure_pid is not None


def _process_of(run: FlowRun) -> psutil.Process:
    assert run.infrastructure_pid is not None
    return psutil.Process(int(run.infrastructure_pid.split(":")[1]))
