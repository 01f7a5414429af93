"""Real services in processes of their own, and a client that keeps a thousand connections open at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.serving.conftest import wait_until

_SERVE = """
import sys
from pathlib import Path
from base.settings import Settings
from serving.server import serve

serve(
    Settings(home=Path(sys.argv[1])),
    port=0,
    announce=lambda address: print(address, flush=True),
    desk="monitoring.desk:take",
)
"""


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        """Kill it as the system would: without a word."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop, and return how it ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def start_service(home: Path) -> Iterator[Service]:
    """Start a service on a free port and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        service = Service(process, process.stdout.readline().strip())
        with httpx.Client(base_url=service.address) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        yield service
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Connection:
    """One connection that stays open: a request, its answer, the next request."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def post(self, path: str, document: object) -> tuple[int, Any]:
        """Send a document and return status and answer."""
        body = json.dumps(document).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        await self._writer.drain()
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        return int(lines[0].split()[1]), json.loads(await self._reader.readexactly(length))
