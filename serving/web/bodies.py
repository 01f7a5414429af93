"""Read a request's body, no more of it than is allowed."""

from __future__ import annotations

from serving.operation.exchange import Receive, Scope
from serving.web.problems import CLIENT_GONE, BodyRefused


async def read_body(scope: Scope, receive: Receive, *, most_bytes: int) -> bytes:
    """Read the body of a request.

    Raises
    ------
    BodyRefused
        413 when it is larger than *most_bytes*, without reading the rest; 499 when the client goes away.
    """
    for name, value in scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and int(value) > most_bytes:
                raise _too_large(most_bytes)
            break
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= most_bytes:
        return body
    parts = bytearray(body)
    while message["type"] == "http.request":
        if len(parts) > most_bytes:
            raise _too_large(most_bytes)
        if not message.get("more_body", False):
            return bytes(parts)
        message = await receive()
        parts += message.get("body", b"")
    raise BodyRefused(CLIENT_GONE, "the client went away before its body had come", reason="client_gone")


def _too_large(most_bytes: int) -> BodyRefused:
    return BodyRefused(
        413,
        f"the body is larger than {most_bytes:,} bytes (EVERFIT_MAX_BODY_BYTES); send the rows in parts",
        reason="too_large",
    )
