"""Claims about several workers, and about slow clients, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from base.settings import Settings
from registry.store import Registry
from tests.serving.conftest import wait_until
from tests.serving.models import promote, register_model
from tests.serving.processes import Connection

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/trips/predict"
ROWS = {"rows": [{"distance": 3.0}]}
N_CLIENTS = 16

_SERVE = """
import json
import sys
from pathlib import Path
from base.settings import Settings
from serving.server import serve

serve(
    Settings(home=Path(sys.argv[1]), max_header_bytes=2048, **json.loads(sys.argv[3])),
    port=0,
    workers=int(sys.argv[2]),
    announce=lambda address: print(address, flush=True),
)
"""


def _start(home: Path, n_workers: int, **limits: float) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(home), str(n_workers), json.dumps(limits)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def _workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def _metric(address: str, name: str) -> float:
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def _ask(address: str, counts: dict[str, int], stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            async with Connection(address) as connection:
                counts["sent"] += 1
                status, _ = await connection.post(PREDICT, ROWS)
                counts["answered"] += status == 200
        except ConnectionRefusedError:
            return
        except (OSError, asyncio.IncompleteReadError):
            counts["lost"] += 1


async def _drain_under_load(process: subprocess.Popen[str], address: str) -> dict[str, int]:
    counts, stopping = {"sent": 0, "answered": 0, "lost": 0}, asyncio.Event()
    clients = [asyncio.create_task(_ask(address, counts, stopping)) for _ in range(N_CLIENTS)]
    await asyncio.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    await asyncio.gather(*clients)
    return counts


def test_workers_share_the_load_one_that_is_killed_comes_back_and_a_drain_loses_nothing(
    settings: Settings, registry: Registry
) -> None:
    promote(registry, register_model(registry))
    process, address = _start(settings.home, 2)
    try:
        wait_until(lambda: _metric(address, "everfit_workers") == 2, "both workers' numbers")
        wait_until(lambda: all(httpx.get(f"{address}/readyz").status_code == 200 for _ in range(20)), "readiness")
        for _ in range(30):
            assert httpx.post(f"{address}{PREDICT}", json=ROWS).status_code == 200
        # Whichever is asked: both have left their numbers, which is what outlives a death.
        wait_until(lambda: {_metric(address, "everfit_rows_total") for _ in range(20)} == {30}, "the sum of both")

        victim, other = _workers_of(process)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(_workers_of(process)) - {victim}) == 2, "a new worker")
        wait_until(lambda: _metric(address, "everfit_workers") == 2, "its numbers")

        assert other in _workers_of(process)
        assert _metric(address, "everfit_rows_total") == 30
        counts = asyncio.run(_drain_under_load(process, address))
        assert counts["lost"] == 0
        assert counts["sent"] == counts["answered"] > N_CLIENTS
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def _talk(address: str, *parts: bytes) -> bytes:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while part := connection.recv(4096):
            received += part
    return received


def test_a_client_that_dawdles_or_sends_endless_headers_is_cut_off_and_counted(
    settings: Settings, registry: Registry
) -> None:
    promote(registry, register_model(registry))
    process, address = _start(settings.home, 1, header_seconds=0.5, body_seconds=0.5)
    head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\n".encode()
    try:
        wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200, "readiness")

        answers: list[Any] = [
            _talk(address, head),
            _talk(address, head + b"content-length: 20\r\n\r\n{"),
            _talk(address, head, b"x: " + b"y" * 4000),
            _talk(address),
        ]

        assert [answer[:12] for answer in answers] == [b"HTTP/1.1 408", b"HTTP/1.1 408", b"HTTP/1.1 431", b""]
        for reason in ("slow_header", "slow_body", "header_size"):
            assert _metric(address, f'everfit_refused_requests_total{{reason="{reason}"}}') == 1
    finally:
        process.terminate()
        process.wait(60)
