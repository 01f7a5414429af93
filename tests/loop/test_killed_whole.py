"""`everfit up` killed with a training under way, alone or with all that it had started, and started again."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from base.times import utc_now
from monitoring.desk import TriggerRequest, take
from registry.launches import list_launches
from registry.ledger import list_decisions
from registry.models import alias_history, list_versions
from registry.runs import list_runs
from tests.loop.running import Running, everfit_up, wait_until
from tests.pipelines import define, make_trips, write_pipeline

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(600)]

# A feature function that waits for as long as a file is there, and says that it does.
_FEATURES = """
import time
from pathlib import Path

HOLD = Path({hold!r})

def add_hour(frame):
    while HOLD.exists():
        HOLD.with_suffix(".reached").touch()
        time.sleep(0.02)
    return frame.assign(hour=frame["at"].dt.hour)
"""


def _kill_alone(running: Running) -> None:
    os.killpg(running.pid, signal.SIGKILL)


def _kill_all(running: Running) -> None:
    up = psutil.Process(running.pid)
    for process in (up, *up.children(recursive=True)):
        # Some end by themselves as soon as the first one has.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_training_goes_on_when_everfit_up_was_killed_whole_and_starts_again(tmp_path: Path) -> None:
    kills = {"killed_alone": _kill_alone, "killed_with_all": _kill_all}
    holds = {name: tmp_path / f"{name}.hold" for name in kills}
    definitions = [
        write_pipeline(
            tmp_path / name,
            make_trips(200),
            define(name=name),
            contract=None,
            features=_FEATURES.format(hold=str(hold)),
        )
        for name, hold in holds.items()
    ]

    for name, kill in kills.items():
        holds[name].touch()
        with everfit_up(tmp_path / "home", *definitions) as running:
            request = TriggerRequest(pipeline=name, kind="webhook", key="k1", reason="prices", actor="shop")
            assert take(running.registry, request, now=utc_now()).outcome == "start"
            wait_until(holds[name].with_suffix(".reached").exists)
            left = psutil.Process(running.pid).children(recursive=True)
            kill(running)
            wait_until(partial(_living, left), lambda living: not living)
        holds[name].unlink()
    with everfit_up(tmp_path / "home", *definitions) as running:
        for name in kills:
            wait_until(partial(_launches, running, name), lambda found: {*found} <= {"ended", "dead"})
        found = {name: _find(running, name) for name in kills}
        is_whole = running.everfit("ledger", "verify")

    expected = (["promoted"], ["ended"], [1], 1, ["gate", "promotion", "training", "trigger"])
    assert found == dict.fromkeys(kills, expected)
    assert is_whole


def _living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running()]


def _launches(running: Running, pipeline: str) -> list[str]:
    with running.registry.database.read() as session:
        return [launch.state for launch in list_launches(session, pipeline=pipeline)]


def _find(running: Running, pipeline: str) -> tuple[list[str], list[str], list[int], int, list[str]]:
    """Look up what became of a trigger: runs, launches, versions, moves of the alias, kinds of decisions."""
    with running.registry.database.read() as session:
        return (
            [run.status for run in list_runs(session, pipeline=pipeline)],
            [launch.state for launch in list_launches(session, pipeline=pipeline)],
            [version.number for version in list_versions(session, pipeline)],
            len(list(alias_history(session, running.registry.environment, pipeline))),
            sorted(decision.kind for decision in list_decisions(session, pipeline=pipeline, limit=None)),
        )
