"""The head and the body of an answer in one write: each write costs a call of the system and a packet."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD, _INTERIM = b"HTTP/1.1 ", b"HTTP/1.1 1"


class JoinedWrites:
    """A transport that keeps the head of an answer until its body comes, or its end."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write what is kept and this, or keep it."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._head = data
            return
        self._write(data)

    def flush(self) -> None:
        """Write what is kept: no body follows."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def _write(self, data: bytes) -> None:
        # uvloop raises this for a connection that its client has reset a moment ago, before anybody is told.
        with suppress(RuntimeError):
            self._transport.write(data)

    def close(self) -> None:
        """Write what is kept, and close the connection."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class JoiningProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a transport that joins writes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport)))

    def on_response_complete(self) -> None:
        """End an answer."""
        cast("JoinedWrites", self.transport).flush()
        super().on_response_complete()
