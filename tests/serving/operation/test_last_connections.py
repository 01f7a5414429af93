"""Claims about the end of a listener: nobody who was let in is lost, whenever they come."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from select import select
from typing import Any

import pytest

from serving.operation.last_connections import take_no_more, take_the_last


class _Interrupted(socket.socket):
    """A listener whose thread loses the interpreter each time when it has found that nobody waits."""

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except BlockingIOError:
            time.sleep(0.05)
            raise


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a listener take no more")


def _listener(family: socket.AddressFamily) -> socket.socket:
    return socket.create_server(("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family)


def _knock(listener: socket.socket, seconds: float = 5.0) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], timeout=seconds)


@needs_linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listener_that_takes_no_more_keeps_who_has_come_and_lets_nobody_new_in(family: socket.AddressFamily) -> None:
    with _listener(family) as listener:
        with _knock(listener) as early:
            assert take_no_more(listener)

            with pytest.raises(TimeoutError):
                _knock(listener, seconds=0.2)

            accepted, _ = listener.accept()
            with accepted:
                early.sendall(b"asked")
                assert accepted.recv(5) == b"asked"
                accepted.sendall(b"answered")
                assert early.recv(8) == b"answered"
                early.shutdown(socket.SHUT_WR)
                assert accepted.recv(1) == b""


def _come_one_after_another(address: tuple[str, int], coming: list[socket.socket]) -> None:
    for _ in range(200):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(address)
        coming.append(client)
        time.sleep(0.002)


def _outcome(client: socket.socket) -> str:
    with client:
        # A packet that was dropped is sent again after a second.
        if not select([client], [], [], 10)[0]:
            return "nothing"
        try:
            return "answered" if client.recv(1) == b"!" else "closed"
        except (ConnectionRefusedError, ConnectionResetError) as error:
            return type(error).__name__


@needs_linux
def test_who_comes_when_the_queue_was_looked_at_last_is_refused_and_never_reset() -> None:
    coming: list[socket.socket] = []

    async def answer(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"!")

    async def end(listener: socket.socket) -> None:
        clients = asyncio.create_task(asyncio.to_thread(_come_one_after_another, listener.getsockname()[:2], coming))
        await asyncio.sleep(0.1)
        await take_the_last(listener, answer, patience_seconds=1.0)
        await clients

    asyncio.run(end(_Interrupted(fileno=_listener(socket.AF_INET).detach())))

    outcomes = Counter(_outcome(client) for client in coming)
    assert outcomes.keys() == {"answered", "ConnectionRefusedError"}


def test_a_connection_that_never_opens_is_not_waited_for_longer_than_said() -> None:
    async def dawdle(_connection: socket.socket) -> None:
        await asyncio.sleep(30)

    async def end(listener: socket.socket) -> None:
        with _knock(listener):
            await asyncio.wait_for(take_the_last(listener, dawdle, patience_seconds=0.1), timeout=10)
        assert listener.fileno() == -1

    asyncio.run(end(_listener(socket.AF_INET)))


def test_a_connection_whose_client_has_gone_meanwhile_troubles_nobody() -> None:
    tried: list[socket.socket] = []

    async def fail(connection: socket.socket) -> None:
        tried.append(connection)
        connection.close()
        raise ConnectionResetError

    async def end(listener: socket.socket) -> None:
        with _knock(listener):
            await take_the_last(listener, fail, patience_seconds=1.0)

    asyncio.run(end(_listener(socket.AF_INET)))

    assert len(tried) == 1
