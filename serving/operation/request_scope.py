"""The outermost layer of the service: each request gets an id, safe headers, its place in the counts and in the log."""

from __future__ import annotations

import asyncio
import logging
import secrets
from itertools import count
from time import perf_counter_ns
from typing import Literal

from serving.access.refusals import send_problem
from serving.access.routes import Route, Routes
from serving.operation.exchange import SCOPE_KEY, App, Exchange, Receive, Scope, Send
from serving.operation.tallies import Tallies
from serving.operation.tracing import Tracing

_log = logging.getLogger("everfit.service")
_access_log = logging.getLogger("everfit.access")

# What may stand in an id that comes from outside and goes into logs and headers.
_ID_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+=@"
_LONGEST_ID = 128
CLIENT_GONE = 499
"""The status under which a request is counted whose client did not wait for the answer."""

_READINESS = ("/readyz", "/v2/health/ready")

Logged = Literal["off", "problems", "all"]


class RequestScope:
    """ASGI middleware: request id, safe headers, counts, access log, trace; the outermost one.

    Parameters
    ----------
    logged : str
        Which requests get a line: ``off``, ``problems`` (answered with 5xx, refused at the gate, or slow) or ``all``.
    slow_seconds : float
        From here on a request is slow.
    """

    def __init__(
        self,
        app: App,
        *,
        tallies: Tallies,
        routes: Routes,
        logged: Logged = "problems",
        slow_seconds: float = 1.0,
        tracing: Tracing | None = None,
    ) -> None:
        self.app = app if tracing is None else tracing.wrap(app)
        self.tallies = tallies
        self._find_route = routes.find
        self._logged = logged
        self._logs_all = logged == "all"
        # Compared with each request's time: without a log, nothing is slow.
        self._slow_ns = int(slow_seconds * 1e9) if logged != "off" else 1 << 62
        self._bad_status = 500 if logged != "off" else 1000
        self._prefix = secrets.token_hex(6).encode()
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and account for it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter_ns()
        tallies = self.tallies
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id")
        if not request_id or len(request_id) > _LONGEST_ID or request_id.translate(None, _ID_BYTES):
            request_id = b"%s-%x" % (self._prefix, next(self._numbers))
        route: Route = self._find_route(scope["method"], scope["path"])
        exchange = scope[SCOPE_KEY] = Exchange(send, request_id, route, headers)
        app = self.app
        if tallies.is_draining:
            exchange.is_closing = True
            if route.template in _READINESS:
                app = _tell_drain
        tallies.in_flight += 1
        try:
            await app(scope, receive, exchange.send)
        except asyncio.CancelledError:
            exchange.status = exchange.status or CLIENT_GONE
            raise
        except Exception as error:
            await self._answer_defect(exchange, error)
        finally:
            tallies.in_flight -= 1
            elapsed = perf_counter_ns() - started
            status = exchange.status or CLIENT_GONE
            route.tally.add(status, exchange.path, elapsed)
            if exchange.n_rows and status < 300:
                tallies.add_rows(exchange.model, exchange.path, exchange.n_rows)
            if elapsed > self._slow_ns or status >= self._bad_status or exchange.refused or self._logs_all:
                self._write(scope, exchange, status, elapsed)
            # The server's record of the request holds the scope, which holds the exchange, which holds the server's
            # record: left to the collector, such rings cost more time than all the rest here.
            exchange.release()

    async def _answer_defect(self, exchange: Exchange, error: Exception) -> None:
        # The stack is for the log alone; FastAPI answers before it raises, others may not.
        _log.error("request %s to %s failed", exchange.request_id.decode(), exchange.route.template, exc_info=error)
        if exchange.is_done:
            return
        if exchange.status:
            # An answer that was begun cannot be taken back: the server cuts the connection, so that it is not
            # taken for a whole one.
            raise RuntimeError("the answer was cut") from None
        detail = "the service failed to answer this request; its log says more under the request's id"
        await send_problem(exchange.send, 500, detail, exchange=exchange)

    def _write(self, scope: Scope, exchange: Exchange, status: int, elapsed_ns: int) -> None:
        if self._logged == "off" or (exchange.route.role is None and self._logged == "problems"):
            # Who probes a service that is starting asks until it is ready, and is told each time.
            return
        client = scope.get("client")
        # Never the query or a header: both may hold secrets.
        facts = {
            "request_id": exchange.request_id.decode(),
            "method": scope["method"],
            "route": exchange.route.template,
            "status": status,
            "ms": round(elapsed_ns / 1e6, 3),
            "client": client[0] if client else None,
            "token": exchange.token or None,
            "model": exchange.model or exchange.route.model,
            "version": exchange.version or None,
            "path": exchange.path or None,
            "rows": exchange.n_rows or None,
            "refused": exchange.refused or None,
        }
        level = logging.WARNING if status >= 500 else logging.INFO
        _access_log.log(level, "%s %s %d", facts["method"], facts["route"], status, extra={"facts": facts})


async def _tell_drain(scope: Scope, _receive: Receive, send: Send) -> None:
    await send_problem(send, 503, "the service is about to end and takes no more work", exchange=scope[SCOPE_KEY])
