"""The gate before the service: who asks, for what, how often, and how much."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from time import monotonic, time

from serving.access.keyring import Grant, Keyring
from serving.access.rates import RateLimiter, caller_of
from serving.access.refusals import Header, send_problem
from serving.access.routes import ADMIN, HOOKS
from serving.operation.exchange import SCOPE_KEY, App, Exchange, Receive, Scope, Send
from serving.operation.tallies import Tallies

_MOST_ADDRESSES = 4096
_SIGNATURE = b"webhook-signature"
_STREAM = b"application/vnd.apache.arrow.stream"
# The pages of this machine itself may ask a service that asks nobody for a token.
_OWN_ORIGINS = ("localhost", "127.0.0.1", "[::1]")


class Gatekeeper:
    """ASGI middleware inside of a ``RequestScope``: token and role, rate, requests in flight, declared size.

    Parameters
    ----------
    keyring : Keyring or None
        The tokens that are good at present; None: nobody is asked for one.
    limiter : RateLimiter or None
        How often each token, or each address without one, may ask; None: as often as it likes.
    most_in_flight : int
        Requests in this process that are not answered yet; more are answered with 503. They wait for one scorer, so
        this is the bound of the queue as well.
    most_body_bytes : int
        What a request may declare as its size; one that declares none is counted where it is read.
    most_stream_bytes : int
        The same of an Arrow stream, which is kept on disk and answered in parts.
    """

    def __init__(
        self,
        app: App,
        *,
        tallies: Tallies,
        keyring: Keyring | None,
        limiter: RateLimiter | None = None,
        most_in_flight: int = 2048,
        most_body_bytes: int = 32 << 20,
        most_stream_bytes: int = 0,
    ) -> None:
        self.app = app
        self._tallies = tallies
        self._keyring = keyring
        self._limiter = limiter
        self._most_in_flight = most_in_flight
        self._most_body_bytes = most_body_bytes
        self._most_stream_bytes = most_stream_bytes
        self._callers: dict[str, str] = {}

    # Not a coroutine of its own: a request that is let through is handed on, and costs no step more.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Let a request through, or say why not."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        exchange: Exchange = scope[SCOPE_KEY]
        headers, role = exchange.headers, exchange.route.role
        if role is not None:
            grant = None
            if self._keyring is not None:
                grant = self._keyring.find(headers.get(b"authorization"))
                if grant is not None and grant.allows(exchange.route, time()):
                    exchange.token = grant.name
                    exchange.models = grant.models
                elif exchange.route.template != HOOKS or _SIGNATURE not in headers:
                    return self._refuse_access(send, exchange, grant)
            elif b"origin" in headers and not _is_own(headers[b"origin"]):
                detail = "a web page of another origin asks, and this service asks for no token; set EVERFIT_ACCESS=on"
                return self._refuse(send, 403, detail, exchange, "foreign_origin")
            if self._limiter is not None:
                wait = self._limiter.take(self._caller(scope) if grant is None else grant.caller, now=monotonic())
                if wait:
                    detail = "this caller asks more often than it may; wait as long as Retry-After says"
                    return self._refuse(send, 429, detail, exchange, "rate", [(b"retry-after", _seconds(wait))])
            if self._tallies.in_flight > self._most_in_flight:
                detail = f"{self._most_in_flight:,} requests wait already; try again when Retry-After says"
                return self._refuse(send, 503, detail, exchange, "busy", [(b"retry-after", b"1")])
        length = headers.get(b"content-length")
        if length is not None and not self._is_small_enough(length, headers):
            most = f"{self._most_body_bytes:,} bytes (EVERFIT_MAX_BODY_BYTES)"
            detail = f"the body is larger than {most}; send the rows in parts"
            return self._refuse(send, 413, detail, exchange, "body_size", [(b"connection", b"close")])
        return self.app(scope, receive, send)

    def _is_small_enough(self, length: bytes, headers: Mapping[bytes, bytes]) -> bool:
        # The server has checked that it is a number; one of forty digits must not become one here.
        if len(length) >= 16:
            return False
        n_bytes = int(length)
        # Where a stream is not taken, its body is refused when it is read.
        return n_bytes <= self._most_body_bytes or (
            n_bytes <= self._most_stream_bytes and headers.get(b"content-type", b"") == _STREAM
        )

    def _caller(self, scope: Scope) -> str:
        client = scope.get("client")
        address: str = client[0] if client else ""
        caller = self._callers.get(address)
        if caller is None:
            if len(self._callers) >= _MOST_ADDRESSES:
                self._callers.clear()
            caller = self._callers[address] = caller_of(address)
        return caller

    def _refuse(
        self,
        send: Send,
        status: int,
        detail: str,
        exchange: Exchange,
        reason: str,
        headers: Sequence[Header] = (),
    ) -> Awaitable[None]:
        self._tallies.refuse(reason)
        # For the log: why, and never with what. A typing error in a token is still most of a secret.
        exchange.refused = reason
        return send_problem(send, status, detail, exchange=exchange, headers=headers)

    def _refuse_access(self, send: Send, exchange: Exchange, grant: Grant | None) -> Awaitable[None]:
        role = exchange.route.role
        if grant is not None:
            exchange.token = grant.name
        if grant is None or grant.is_expired(time()):
            status, headers = 401, [(b"www-authenticate", b'Bearer realm="everfit"')]
            if grant is not None:
                reason, detail = "expired", f"the token {grant.name!r} has expired; ask for a new one"
            elif b"authorization" not in exchange.headers:
                reason, detail = "no_token", "a token is needed: send it as `Authorization: Bearer TOKEN`"
            else:
                reason, detail = "unknown_token", "the token is not known, or was revoked; ask for a new one"
        elif role not in grant.roles and ADMIN not in grant.roles:
            status, headers, reason = 403, [], "role"
            detail = f"the token {grant.name!r} has not the role {role!r}; it has {', '.join(sorted(grant.roles))}"
        else:
            status, headers, reason = 403, [], "model"
            models = ", ".join(sorted(grant.models or ()))
            detail = f"the token {grant.name!r} is for {models} only; ask at an address that names one of these models"
        return self._refuse(send, status, detail, exchange, reason, headers)


def _is_own(origin: bytes) -> bool:
    host = origin.decode("latin-1").partition("://")[2]
    return any(host == own or host.startswith(f"{own}:") for own in _OWN_ORIGINS)


def _seconds(wait: float) -> bytes:
    return str(max(1, int(wait) + (wait > int(wait)))).encode()
