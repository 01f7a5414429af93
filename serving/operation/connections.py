"""Connections as uvicorn serves them, with the limits that it lacks: on the size and on the slowness of a request."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.operation.joined_writes import JoiningProtocol

# A timer that is this late says that the process was busy or had no processor, not that a client is slow.
_LATE_SECONDS = 0.1
_TEMPLATE = (
    b"HTTP/1.1 %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
)


def guarded_protocol(
    *, most_header_bytes: int, header_seconds: float, body_seconds: float, refuse: Callable[[str], None]
) -> type[HttpToolsProtocol]:
    """Make the class of a service's connections.

    A request that has arrived with one packet, as nearly all do, costs no timer. Otherwise its header must be whole
    after *header_seconds* and its body after *body_seconds* more, however steadily it trickles.

    Parameters
    ----------
    refuse : callable
        Is told why a request was refused: ``slow_header``, ``slow_body`` or ``header_size``.
    """

    class GuardedProtocol(JoiningProtocol):
        _in_header = True
        _in_body = False
        _header_bytes = 0
        _timer: TimerHandle | None = None
        _seconds = 0.0
        _has_waited_again = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm(header_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._in_header:
                self._wait_for_header(len(data))
            elif self._in_body:
                if self._timer is None:
                    self._arm(body_seconds)
            elif self._timer is not None:
                self._disarm()

        def on_message_begin(self) -> None:
            self._in_header = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_header = False
            self._in_body = True
            self._header_bytes = 0
            self._disarm()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def _wait_for_header(self, n_bytes: int) -> None:
            self._header_bytes += n_bytes
            if self._header_bytes > most_header_bytes:
                self._refuse("header_size", b"431 Request Header Fields Too Large", "the header is too large")
            elif self._timer is None and not self.transport.is_closing():
                self._arm(header_seconds)

        def _arm(self, seconds: float, *, is_again: bool = False) -> None:
            self._seconds, self._has_waited_again = seconds, is_again
            self._timer = self.loop.call_later(seconds, self._give_up)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            timer, self._timer = self._timer, None
            is_late = timer is not None and self.loop.time() - timer.when() > _LATE_SECONDS
            if is_late and not self._has_waited_again:
                # Timers come before what has arrived: it may all be here, and nobody had the time to read it. Once: who
                # trickles must not be let in for ever by a process that is always busy.
                self._arm(self._seconds, is_again=True)
                return
            if self._in_header:
                if self._header_bytes == 0:
                    # Nobody has asked for anything: nothing to answer.
                    self.transport.close()
                    return
                detail = f"no whole header within {header_seconds:g} seconds"
                self._refuse("slow_header", b"408 Request Timeout", detail)
            elif self._in_body:
                self._refuse("slow_body", b"408 Request Timeout", f"no whole body within {body_seconds:g} seconds")

        def _refuse(self, reason: str, status: bytes, detail: str) -> None:
            if self.transport.is_closing():
                return
            refuse(reason)
            cycle = self.cycle
            if not self._in_body or cycle is None or not cycle.response_started:
                code = status[:3].decode()
                title = status[4:].decode()
                body = f'{{"type":"about:blank","title":"{title}","status":{code},"detail":"{detail}"}}'.encode()
                self.transport.write(_TEMPLATE % (status, len(body), body))
            # Whoever waits for the rest of the body in the application is told that nobody is there any more.
            self.transport.close()

    return GuardedProtocol
