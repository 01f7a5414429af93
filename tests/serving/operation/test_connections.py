"""Claims about the limits of a connection: a slow client is cut off, a slow process cuts nobody off."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
import uvicorn
import uvloop

from serving.operation.connections import guarded_protocol

HEADER_SECONDS = 0.4
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
BUSY = REQUEST.replace(b"/ ", b"/busy ")


async def _answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _read(client: socket.socket) -> bytes:
    received = b""
    while part := client.recv(4096):
        received += part
    return received


def _ask_while_busy(address: tuple[str, int], request: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as client, socket.create_connection(address) as other:
        time.sleep(0.1)
        other.sendall(BUSY)
        time.sleep(0.1)
        client.sendall(request)
        assert _read(other).startswith(b"HTTP/1.1 204")
        return _read(client)


def _serve(request: bytes) -> tuple[bytes, list[str]]:
    """Serve two connections; the process is busy with the one beyond the limit of the other."""
    refused: list[str] = []
    guarded = guarded_protocol(
        most_header_bytes=1024, header_seconds=HEADER_SECONDS, body_seconds=10, refuse=refused.append
    )

    class Busy(guarded):  # type: ignore[misc, valid-type]
        def data_received(self, data: bytes) -> None:
            if data == BUSY:
                time.sleep(2 * HEADER_SECONDS)
            super().data_received(data)

    server = uvicorn.Server(uvicorn.Config(_answer, http=Busy, lifespan="off", ws="none", log_config=None))

    async def serve() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            answer = await asyncio.to_thread(_ask_while_busy, listener.getsockname(), request)
            server.should_exit = True
            await serving
        return answer

    return uvloop.run(serve()), refused


@pytest.mark.parametrize(
    ("request_", "status", "reasons"),
    [
        pytest.param(REQUEST, b"HTTP/1.1 204", [], id="all of it has come meanwhile: answered"),
        pytest.param(REQUEST[:-2], b"HTTP/1.1 408", ["slow_header"], id="its end never comes: told"),
        pytest.param(b"", b"", [], id="nothing comes: closed"),
    ],
)
def test_while_the_process_was_busy_no_client_was_slow(request_: bytes, status: bytes, reasons: list[str]) -> None:
    answer, refused = _serve(request_)

    assert (answer[:12], refused) == (status, reasons)
