"""One request on its way through the service: what is known of it, for headers, log and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.access.routes import Route

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY = "everfit"
"""Under which name an ASGI scope holds its exchange."""

# Everything that the service says is of this moment: nobody keeps it.
_ALWAYS: tuple[tuple[bytes, bytes], ...] = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
# What only a page can make use of.
_OF_PAGES = (*_ALWAYS, (b"referrer-policy", b"no-referrer"), (b"x-frame-options", b"DENY"))
_CLOSE = (b"connection", b"close")


class Exchange:
    """What is known of one request; the service fills in what only it knows.

    Attributes
    ----------
    request_id : bytes
        Given by the client where it was sane, else made here; goes back with the answer and into every log line.
    headers : dict of bytes to bytes
        The request's headers by lower-case name; of one that came twice, the last.
    token : str
        The name of the token that was shown; empty without one.
    models : frozenset of str or None
        The models that the token may ask; None: all.
    model, version, path, n_rows
        What was answered by what: the service sets them when it knows. *path* is ``onnx`` or ``scikit-learn``.
    refused : str
        Why the gate did not let it pass; empty if it did.
    """

    # Most requests set few of these: what a class holds costs a request nothing.
    is_closing = False
    is_done = False
    status = 0
    token = ""
    models: frozenset[str] | None = None
    model = ""
    version = 0
    path = ""
    n_rows = 0
    refused = ""

    def __init__(self, send: Send, request_id: bytes, route: Route, headers: dict[bytes, bytes]) -> None:
        self._send = send
        self.request_id = request_id
        self.route = route
        self.headers = headers

    def may_ask(self, model: str) -> bool:
        """Tell whether the request's token is good for a model that the address does not name."""
        return self.models is None or model in self.models

    def release(self) -> None:
        """Let go of the server's record of the request, when all has been sent."""
        del self._send

    # Not a coroutine of its own: it hands on the one that the server made, which saves one for each message.
    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers", ())
            added = _ALWAYS
            for name, value in headers:
                if name == b"content-type" and value[:5] == b"text/":
                    added = _OF_PAGES
            message["headers"] = [*headers, (b"x-request-id", self.request_id), *added]
            if self.is_closing:
                message["headers"].append(_CLOSE)
        elif not message.get("more_body", False):
            self.is_done = True
        return self._send(message)


def exchange_of(scope: Scope) -> Exchange | None:
    """Return the exchange that a request belongs to; None where no ``RequestScope`` stands before."""
    found: Exchange | None = scope.get(SCOPE_KEY)
    return found
