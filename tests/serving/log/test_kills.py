"""Claims about services that are killed under load, at random moments: what was acknowledged is logged, once."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from base.settings import Settings
from registry.store import Registry
from serving.log.status import read_status
from serving.log.upkeep import move_all
from tests.serving.conftest import wait_until
from tests.serving.faults.running import Load, Running, run_service, serves
from tests.serving.log.samples import assert_once, folder_of, read_ids
from tests.serving.models import promote, register_model

pytestmark = pytest.mark.slow

N_WORKERS, N_KILLS = 3, 9


def _kill_one(service: Running, load: Load) -> None:
    """Kill a worker that has answered, at a random moment while all are asked."""
    load.wait_for_answers()
    time.sleep(random.uniform(0.0, 0.5))
    serving: list[int] = []

    def find_serving() -> bool:
        serving[:] = [pid for pid in service.workers() if serves(pid)]
        return bool(serving)

    wait_until(find_serving, "a worker that answers")
    os.kill(random.choice(serving), signal.SIGKILL)


def _assert_complete(settings: Settings, registry: Registry, ids: list[str]) -> None:
    assert_once(read_ids(settings.home, registry), ids)
    (status,) = read_status(settings.home, registry)
    assert status.gaps == ()
    assert status.n_found >= len(ids) > 0


@pytest.mark.parametrize("round_", range(5))
def test_of_ten_processes_killed_under_load_every_acknowledged_prediction_is_in_the_log_once(
    settings: Settings, registry: Registry, round_: int
) -> None:
    promote(registry, register_model(registry))

    # So small segments and so often moved that processes die while they seal and move, too.
    with (
        run_service(settings.home, workers=N_WORKERS, segment_rows=150, log_upkeep_seconds=0.5) as service,
        Load(service, n_clients=6) as load,
    ):
        for _ in range(N_KILLS):
            _kill_one(service, load)
        load.wait_for_answers()
        # The tenth: all of them at once, and their parent.
        service.kill()
    assert set(load.statuses) == {200}
    _assert_complete(settings, registry, load.ids)

    def is_moved() -> bool:
        move_all(settings.home, registry)
        return not list(folder_of(settings.home).iterdir())

    # The upkeep of a service that was killed is a process of its own, and may have the turn.
    wait_until(is_moved, "the last move")
    _assert_complete(settings, registry, load.ids)
