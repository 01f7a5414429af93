"""Claims about the process that looks: it runs while there is something to look at, and never outlives the service."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from base.settings import Settings
from registry.store import Registry
from serving.rollout.looker_process import LookerProcess
from tests.serving.conftest import wait_until

pytestmark = pytest.mark.slow


def _lookers() -> list[psutil.Process]:
    found = []
    for each in psutil.Process().children(recursive=True):
        try:
            if "serving.rollout.looker_process" in each.cmdline() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
        except psutil.NoSuchProcess:
            continue
    return found


def test_it_runs_while_there_are_rollouts_and_ends_with_the_last(settings: Settings, registry: Registry) -> None:
    looker = LookerProcess(settings)

    looker.watch([])
    assert not _lookers()
    looker.watch(["trips"])
    (first,) = _lookers()
    looker.watch(["trips"])
    assert _lookers() == [first]
    looker.watch([])

    assert not _lookers()


def test_one_that_died_is_not_started_again_and_again(settings: Settings, registry: Registry) -> None:
    looker = LookerProcess(settings)
    looker.watch(["trips"])
    (first,) = _lookers()
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: not _lookers(), "its death")

    looker.watch(["trips"])

    assert not _lookers()
    looker.stop()


def test_it_ends_when_the_service_is_killed(settings: Settings, registry: Registry) -> None:
    program = (
        "import sys, time\nfrom base.settings import Settings\n"
        "from serving.rollout.looker_process import LookerProcess\n"
        f"looker = LookerProcess(Settings(home={str(settings.home)!r}))\nlooker.watch(['trips'])\n"
        "print(looker._process.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        assert psutil.pid_exists(pid)

        service.kill()

        wait_until(lambda: not psutil.pid_exists(pid), "its end")
