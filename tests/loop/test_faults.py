"""kill -9 of each process at each place between trigger and promotion: one training, whatever dies."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from base.definition import read_pipeline
from base.settings import Settings
from base.times import utc_now
from deployments.child_process import ChildSpec, child_environment, free_port
from deployments.embedded import worker_spec
from deployments.prefect_server import prefect_environment, server_spec, server_url, use_client
from deployments.registration import register_deployments
from deployments.supervisor import Supervisor
from monitoring.desk import TriggerRequest, take
from registry.launches import list_launches
from registry.ledger import list_decisions
from registry.models import alias_history, list_versions
from registry.pipelines import register_pipeline
from registry.runs import list_runs
from registry.store import Registry, open_registry
from tests.loop.holding import ask_hold, held_process, let_go
from tests.loop.running import run_everfit, wait_until
from tests.pipelines import define, make_trips, write_pipeline

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(600)]

SENDING = ("before it is sent", "sent, not written down")
TAKEN = ("taken by the worker",)
RUNNING = ("before it begins", "after it began", "in the training", "at the promotion", "after the promotion")
PLACES = SENDING + TAKEN + RUNNING
VICTIMS: dict[str, tuple[str, ...]] = {
    "dispatcher": PLACES,
    "run": RUNNING,
    "worker": PLACES,
    "server": PLACES,
}
_TABLE = [(victim, place) for victim, places in VICTIMS.items() for place in places]
_PATIENCE_SECONDS = 300.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What became of one trigger: by run its status, and all that could have happened twice."""

    runs: list[str]
    launches: list[str]
    versions: list[int]
    moves: int
    kinds: list[str]
    two_at_once: list[str]


class Loop:
    """Prefect's server, the warm worker and two dispatchers under a supervisor, each to be killed and held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.holds, self.training = folder / "holds", folder / "training"
        self.settings = Settings(home=folder / "home", prefect_port=free_port())
        self.registry: Registry = open_registry(self.settings)
        self.api = f"{server_url(self.settings.prefect_host, self.settings.prefect_port)}/api"
        self.supervisor = Supervisor(self.settings.home / "logs")

    @contextlib.contextmanager
    def up(self) -> Iterator[Loop]:
        """Start all, and stop all."""
        for place in (self.holds, self.training):
            place.mkdir()
        names = [_name(victim, place) for victim, place in _TABLE]
        data, pipelines = make_trips(200), []
        for name in names:
            pipelines.append(read_pipeline(write_pipeline(self.folder / name, data, define(name=name), contract=None)))
            register_pipeline(self.registry, pipelines[-1])
        with self.supervisor, use_client(self.settings, self.api):
            self.supervisor.start(server_spec(self.settings, host="127.0.0.1", port=self.settings.prefect_port))
            starting = self.supervisor.begin(self._worker(), self._dispatcher("one"), self._dispatcher("two"))
            register_deployments(pipelines)
            starting.wait()
            yield self
        self.registry.database.close()

    def ask(self, pipeline: str) -> None:
        """File a trigger."""
        request = TriggerRequest(
            pipeline=pipeline, kind="webhook", key=pipeline, reason="the prices have changed", actor="shop"
        )
        assert take(self.registry, request, now=utc_now()).outcome == "start"

    def kill(self, victim: str, places: tuple[str, ...]) -> None:
        """Kill a process as the system would: without a word."""
        if victim == "run":
            pids = [held_process(self.holds, place, _name(victim, place)) for place in places]
        else:
            pids = [pid for name, pid in self.supervisor.pids().items() if victim in name]
        assert pids
        for pid in pids:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: [pid for pid in pids if pid is not None and _lives(pid)], lambda living: not living)

    def find(self, pipeline: str) -> Outcome:
        """Look up what became of a trigger."""
        with self.registry.database.read() as session:
            runs = list_runs(session, pipeline=pipeline)
            decisions = list_decisions(session, pipeline=pipeline, limit=None)
            return Outcome(
                runs=[run.status for run in runs],
                launches=[each.state for each in list_launches(session, pipeline=pipeline)],
                versions=[version.number for version in list_versions(session, pipeline)],
                moves=len(list(alias_history(session, self.registry.environment, pipeline))),
                kinds=sorted(decision.kind for decision in decisions),
                two_at_once=[file.name for file in self.training.glob(f"two at once: {pipeline}.*")],
            )

    def _worker(self) -> ChildSpec:
        spec = worker_spec(self.settings)
        environment = {**spec.environment, "PYTHONPATH": str(_ROOT), "PREFECT_WORKER_HEARTBEAT_SECONDS": "5"}
        return ChildSpec(
            name=spec.name,
            module="tests.loop.held_worker",
            arguments=spec.arguments,
            environment=environment,
            is_healthy=spec.is_healthy,
            start_seconds=180,
        )

    def _dispatcher(self, name: str) -> ChildSpec:
        return ChildSpec(
            name=f"dispatcher {name}",
            module="tests.loop.held_dispatcher",
            environment={
                **child_environment(self.settings),
                **prefect_environment(self.settings, self.api),
                "PYTHONPATH": str(_ROOT),
            },
        )


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    with Loop(tmp_path_factory.mktemp("faults")).up() as loop:
        yield loop


@pytest.fixture(scope="module")
def play(loop: Loop) -> Any:
    """Play a victim's death once: a pipeline waits at each of its places, the victim dies, all go on."""

    @cache
    def once(victim: str) -> dict[str, Outcome]:
        places = VICTIMS[victim]
        # The dispatchers come last: what they are held over, nobody else sends.
        for some in (TAKEN + RUNNING, SENDING):
            for place in (place for place in some if place in places):
                ask_hold(loop.holds, place, _name(victim, place))
                loop.ask(_name(victim, place))
            for place in (place for place in some if place in places):
                wait_until(partial(held_process, loop.holds, place, _name(victim, place)))
        loop.kill(victim, places)
        let_go(loop.holds)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = {place: loop.find(_name(victim, place)) for place in places}
            if all(one.launches and not {"waiting", "sent", "begun"} & {*one.launches} for one in found.values()):
                break
            time.sleep(0.5)
        return found

    return once


@pytest.mark.parametrize(("victim", "place"), _TABLE, ids=[f"{victim}: {place}" for victim, place in _TABLE])
def test_whatever_dies_wherever_there_is_one_training(play: Any, victim: str, place: str) -> None:
    found: Outcome = play(victim)[place]

    assert (found.runs, found.launches, found.versions, found.moves) == (["promoted"], ["ended"], [1], 1)
    assert found.two_at_once == []
    assert found.kinds == ["gate", "promotion", "training", "trigger"]


def test_the_ledger_is_whole_after_all_that(loop: Loop, play: Any) -> None:
    assert run_everfit(loop.settings, "ledger", "verify")


def _name(victim: str, place: str) -> str:
    return f"{victim}_{place.replace(',', '').replace(' ', '_')}"


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
