"""Claims about the service as a process: swapped, stopped and killed under load, it loses nothing it acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base.errors import ArgumentError
from base.settings import Settings
from registry.models import roll_back
from registry.store import Registry
from serving.log.traffic import read_traffic
from serving.server import serve
from tests.serving.conftest import wait_until
from tests.serving.models import load_version, make_rows, promote, register_model
from tests.serving.processes import Connection, Service, start_service

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/trips/predict"
N_CONNECTIONS = 1000
ROWS = make_rows(40, seed=3)

_LOOK_AT_MODULES = """
import json, os, signal, sys, threading, time, urllib.error, urllib.request
from pathlib import Path
from base.settings import Settings
from serving.server import serve

def look(address):
    while True:
        try:
            urllib.request.urlopen(f"{address}/readyz")
            break
        except urllib.error.HTTPError:
            time.sleep(0.05)
    body = json.dumps({"rows": [{"distance": 3.0}]}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{address}/v1/models/trips/predict", body)).read()
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

serve(
    Settings(home=Path(sys.argv[1])),
    port=0,
    announce=lambda address: threading.Thread(target=look, args=(address,), daemon=True).start(),
)
"""


async def _ask_until(service: Service, number: int, version: int) -> list[tuple[int, int, Any]]:
    answers = []
    async with Connection(service.address) as connection:
        while True:
            status, answer = await connection.post(PREDICT, {"rows": [ROWS[number % len(ROWS)]]})
            answers.append((number % len(ROWS), status, answer))
            if status != 200 or answer["version"] == version:
                return answers


async def _ask_while(service: Service, move_alias: Callable[[], None], version: int) -> list[tuple[int, int, Any]]:
    workers = [asyncio.create_task(_ask_until(service, number, version)) for number in range(N_CONNECTIONS)]
    await asyncio.sleep(0.2)
    await asyncio.to_thread(move_alias)
    return [answer for answers in await asyncio.gather(*workers) for answer in answers]


def test_a_thousand_requests_in_flight_while_the_champion_changes_are_answered_by_a_version_they_name(
    settings: Settings, registry: Registry
) -> None:
    versions = [register_model(registry), register_model(registry, inverted=True)]
    expected = {
        version.number: [one.as_json() for one in load_version(registry, version).predict_rows(ROWS)]
        for version in versions
    }
    promote(registry, versions[0])

    def go_back() -> None:
        with registry.database.write() as session:
            roll_back(session, "prod", "trips", actor="test", reason="a test wants it")

    with start_service(settings.home) as service:
        promotion = asyncio.run(_ask_while(service, lambda: promote(registry, versions[1]), 2))
        rollback = asyncio.run(_ask_while(service, go_back, 1))

    for answers in (promotion, rollback):
        assert {status for _, status, _ in answers} == {200}
        assert {answer["version"] for _, _, answer in answers} == {1, 2}
        for row, _, answer in answers:
            (prediction,) = answer["predictions"]
            assert prediction == expected[answer["version"]][row] | {"id": prediction["id"]}
    traffic = read_traffic(settings.home, "trips", registry=registry).set_index("id")
    assert traffic.index.is_unique
    told = {answer["predictions"][0]["id"]: answer["version"] for _, _, answer in promotion + rollback}
    assert traffic["version"].to_dict() == told


async def _ask_until_it_dies(service: Service, ids: list[str]) -> None:
    async with Connection(service.address) as connection:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                status, answer = await connection.post(PREDICT, {"rows": random.choices(ROWS, k=3)})
                assert status == 200
                ids.extend(one["id"] for one in answer["predictions"])


async def _ask_and_kill(service: Service, ids: list[str], seconds: float) -> None:
    workers = [asyncio.create_task(_ask_until_it_dies(service, ids)) for _ in range(50)]
    await asyncio.sleep(seconds)
    await asyncio.to_thread(service.kill)
    await asyncio.gather(*workers)


def test_a_service_killed_under_load_has_logged_every_acknowledged_prediction_once(
    settings: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERFIT_SEGMENT_ROWS", "500")
    promote(registry, register_model(registry))
    ids: list[str] = []

    for _ in range(2):
        with start_service(settings.home) as service:
            asyncio.run(_ask_and_kill(service, ids, random.uniform(0.3, 1.5)))
        found = read_traffic(settings.home, "trips", registry=registry)["id"]
        assert found.is_unique
        assert set(ids) <= set(found)

    with start_service(settings.home):
        folder = settings.home / "traffic" / "trips" / "predictions"
        wait_until(lambda: not list(folder.glob("*.jsonl")), "adoption")
    found = read_traffic(settings.home, "trips", registry=registry)["id"]
    assert found.is_unique
    assert set(ids) <= set(found)


async def _ask_and_stop(service: Service) -> tuple[int, list[int]]:
    async with contextlib.AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Connection(service.address)) for _ in range(10)]
        asked = [asyncio.create_task(connection.post(PREDICT, {"rows": ROWS})) for connection in connections]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        code = await asyncio.to_thread(service.stop)
        return code, [status for status, _ in await asyncio.gather(*asked)]


def test_a_service_that_is_told_to_stop_answers_what_it_was_asked(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry, function="features:take_a_while"))

    with start_service(settings.home) as service:
        code, statuses = asyncio.run(_ask_and_stop(service))

    assert (code, statuses) == (0, [200] * 10)
    assert len(read_traffic(settings.home, "trips", registry=registry)) == 10 * len(ROWS)


def test_the_service_imports_no_library_that_is_for_training_only(settings: Settings, registry: Registry) -> None:
    promote(registry, register_model(registry))

    finished = subprocess.run(
        [sys.executable, "-c", _LOOK_AT_MODULES, str(settings.home)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )

    modules = set(json.loads(finished.stdout))
    assert {"sklearn", "starlette"} <= modules
    # FastAPI writes the API's description, and is loaded when somebody asks for it.
    assert not modules & {
        "prefect",
        "great_expectations",
        "evidently",
        "plotly",
        "matplotlib",
        "alembic",
        "ruamel",
        "fastapi",
    }


def test_an_address_that_is_taken_is_named_with_the_way_out(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ArgumentError, match=rf"cannot bind 127\.0\.0\.1:{port}: .*EVERFIT_SERVICE_PORT"):
            serve(settings, port=port)
