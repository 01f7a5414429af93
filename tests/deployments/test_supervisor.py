"""The supervisor restarts what dies and leaves nothing behind, however it ends itself."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deployments.child_process import ChildFailed, ChildProcess, ChildSpec, PortInUse
from deployments.supervisor import Supervisor
from tests.deployments.conftest import wait_until

pytestmark = pytest.mark.slow

# A child with a child of its own, which ignores being asked to end; both write down who they are.
_STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
other = subprocess.Popen([sys.executable, "-c", code])
folder.joinpath("pids.new").write_text(f"{os.getpid()} {other.pid}")
folder.joinpath("pids.new").rename(folder / "pids")
time.sleep(600)
"""
_SUPERVISOR = """
import sys, time
from pathlib import Path
from deployments.child_process import ChildSpec
from deployments.embedded import wait_for_signal
from deployments.supervisor import Supervisor
folder = Path(sys.argv[1])
spec = ChildSpec("stubborn", "stubborn_child", (str(folder),), {"PYTHONPATH": str(folder)}, (folder / "pids").exists)
with Supervisor(folder / "logs") as supervisor:
    supervisor.start(spec)
    (folder / "up").touch()
    wait_for_signal()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stubborn_child.py").write_text(_STUBBORN)
    (tmp_path / "failing_child.py").write_text("raise ValueError('the moon is full')\n")
    return tmp_path


@pytest.fixture
def supervisor_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, str(folder)])
    yield process
    process.kill()
    process.wait()


def _spec(folder: Path, name: str = "stubborn", **options: object) -> ChildSpec:
    return ChildSpec(
        name=name,
        module=f"{name}_child",
        arguments=(str(folder),),
        environment={"PYTHONPATH": str(folder)},
        is_healthy=(folder / "pids").exists,
        **options,  # type: ignore[arg-type]
    )


def _processes(folder: Path) -> list[psutil.Process]:
    return [psutil.Process(int(pid)) for pid in (folder / "pids").read_text().split()]


def _wait_until_gone(processes: list[psutil.Process]) -> None:
    wait_until(lambda: [process for process in processes if process.is_running()], lambda living: not living)


def test_a_child_that_is_killed_is_started_again(folder: Path) -> None:
    told: list[str] = []
    with Supervisor(folder / "logs", progress=told.append) as supervisor:
        supervisor.start(_spec(folder))
        before = _processes(folder)
        (folder / "pids").unlink()

        before[0].kill()

        wait_until((folder / "pids").exists, bool)
        after = _processes(folder)
        assert supervisor.pids() == {"stubborn": after[0].pid}
        assert supervisor.restarts() == {"stubborn": 1}
        assert "the stubborn ended with code -9; starting it again in 0.5 s" in told
        _wait_until_gone(before)
    _wait_until_gone(after)


def test_stopping_ends_the_children_of_children_that_ignore_it(folder: Path) -> None:
    with Supervisor(folder / "logs") as supervisor:
        supervisor.start(_spec(folder))
        processes = _processes(folder)

    assert [process for process in processes if process.is_running()] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_supervisor_that_ends_leaves_no_process_behind(
    folder: Path, supervisor_process: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    wait_until((folder / "up").exists, bool)
    processes = _processes(folder)

    supervisor_process.send_signal(number)

    _wait_until_gone(processes)
    assert supervisor_process.wait(30) == (-number if number == signal.SIGKILL else 0)


def test_a_child_that_fails_to_start_is_told_with_the_end_of_its_log(folder: Path) -> None:
    with (
        Supervisor(folder / "logs") as supervisor,
        pytest.raises(ChildFailed, match=r"(?s)the failing ended with code 1 .*ValueError: the moon is full"),
    ):
        supervisor.start(_spec(folder, "failing"))


def test_a_child_that_never_becomes_healthy_is_stopped(folder: Path) -> None:
    child = ChildProcess(_spec(folder, start_seconds=0.0), folder / "logs" / "child.log")
    process = psutil.Process(child.pid)

    with pytest.raises(ChildFailed, match="the stubborn was not healthy within 0 s"):
        child.wait_until_healthy()

    assert not process.is_running()


def test_a_port_in_use_is_named_with_its_setting(folder: Path) -> None:
    with socket.socket() as other, Supervisor(folder / "logs") as supervisor:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        spec = _spec(folder, host="127.0.0.1", port=port, port_setting="EVERFIT_SERVICE_PORT")

        with pytest.raises(PortInUse, match=rf"port {port} on 127\.0\.0\.1.*choose another port by EVERFIT_SERVICE"):
            supervisor.start(spec)

        assert supervisor.pids() == {}
