"""Claims about services that are killed under load, at random moments: what was acknowledged is logged, once."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from base.settings import Settings
from registry.store import Registry
from serving.log.status import read_status
from serving.log.upkeep import move_all
from tests.serving.log.samples import assert_once, folder_of, read_ids
from tests.serving.models import make_rows, promote, register_model
from tests.serving.processes import Connection, Service, start_service

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/trips/predict"
ROWS = make_rows(40, seed=3)
N_CONNECTIONS = 32


async def _ask_until_it_dies(service: Service, ids: list[str]) -> None:
    async with Connection(service.address) as connection:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                status, answer = await connection.post(PREDICT, {"rows": random.choices(ROWS, k=3)})
                assert status == 200
                ids.extend(one["id"] for one in answer["predictions"])


async def _ask_and_kill(service: Service, ids: list[str], seconds: float) -> None:
    workers = [asyncio.create_task(_ask_until_it_dies(service, ids)) for _ in range(N_CONNECTIONS)]
    await asyncio.sleep(seconds)
    await asyncio.to_thread(service.kill)
    await asyncio.gather(*workers)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("round_", range(10))
def test_of_five_services_killed_one_after_the_other_every_acknowledged_prediction_is_in_the_log_once(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch, round_: int
) -> None:
    # So small and so often that services die while they seal and move, too.
    monkeypatch.setenv("EVERFIT_SEGMENT_ROWS", "150")
    monkeypatch.setenv("EVERFIT_LOG_UPKEEP_SECONDS", "0.05")
    promote(registry, register_model(registry))
    ids: list[str] = []

    for _ in range(5):
        with start_service(settings.home) as service:
            asyncio.run(_ask_and_kill(service, ids, random.uniform(0.02, 0.8)))
        assert_once(read_ids(settings.home, registry), ids)
        (status,) = read_status(settings.home, registry)
        assert status.gaps == ()
    move_all(settings.home, registry)

    assert_once(read_ids(settings.home, registry), ids)
    assert not list(folder_of(settings.home).iterdir())
    (status,) = read_status(settings.home, registry)
    assert status.gaps == ()
    assert status.n_found >= len(ids) > 0
