"""Claims about a registry that goes away under load: what is loaded answers, nothing is lost, all comes back alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from base.settings import Settings
from registry.store import open_registry
from serving.log.status import ModelStatus, read_status
from serving.log.upkeep import move_all
from tests.serving.conftest import wait_until
from tests.serving.faults.away import Away, HungPostgres, Postgres, Volume
from tests.serving.faults.running import Load, Running, run_service
from tests.serving.log.samples import assert_once, read_ids
from tests.serving.models import promote, register_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Enough for dozens of looks at what is not there; the tests of a release take 60.
_AWAY_SECONDS = float(os.environ.get("TEST_AWAY_SECONDS", "4"))


@pytest.fixture(params=["volume", "postgres", "hung postgres"])
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Away]:
    made: Away = {"volume": lambda: Volume(tmp_path), "postgres": Postgres, "hung postgres": HungPostgres}[
        request.param
    ]()
    yield made
    made.close()


def _is_degraded(service: Running) -> bool:
    status, document = service.readiness()
    assert status == 200
    return bool(document["status"] == "degraded" and document["registry"].startswith("away"))


def test_while_the_registry_is_away_predictions_go_on_and_what_was_due_is_done_when_it_is_back(
    away: Away, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(away.url))
    registry = open_registry(settings)
    promote(registry, register_model(registry))
    second = register_model(registry, inverted=True)

    def read_one() -> ModelStatus:
        (status,) = read_status(settings.home, registry)
        return status

    with (
        run_service(
            settings.home, database_url=away.url, segment_rows=150, log_upkeep_seconds=1, follow_seconds=0.2
        ) as service,
        Load(service, n_clients=2, pause_seconds=0.01) as load,
    ):
        load.wait_for_answers(200)
        wait_until(lambda: read_one().count("moved")[1] > 0, "the first move")
        registry.database.close()

        away.take()
        n_before, began = len(load.ids), time.monotonic()
        wait_until(lambda: _is_degraded(service), "the word of it")
        while time.monotonic() < began + _AWAY_SECONDS:
            assert _is_degraded(service)
            time.sleep(0.1)
        load.wait_for_answers()
        n_meanwhile = len(load.ids) - n_before
        away.give_back()

        wait_until(lambda: service.readiness()[1]["status"] == "ready", "recovery")
        wait_until(lambda: read_one().count("moved")[1] >= n_before + n_meanwhile - 300, "what was due to be moved")
        promote(registry, second)
        wait_until(lambda: load.versions[2], "the new champion")
        code = service.stop()

    move_all(settings.home, registry)
    assert code == 0
    assert set(load.statuses) == {200}
    assert n_meanwhile > 100
    assert_once(read_ids(settings.home, registry), load.ids)
    assert len(read_ids(settings.home, registry)) == read_one().totals.stored >= len(load.ids)
    assert read_one().gaps == ()
    registry.database.close()
