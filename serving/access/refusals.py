"""Refusals before the service is asked: problem details (RFC 9457) in as few steps as possible."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus

from serving.operation.exchange import Exchange, Send

Header = tuple[bytes, bytes]


async def send_problem(
    send: Send, status: int, detail: str, *, exchange: Exchange, headers: Sequence[Header] = ()
) -> None:
    """Answer with a problem document, and nothing of the service's insides."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": exchange.request_id.decode("ascii"),
    }
    body = json.dumps(document, ensure_ascii=False).encode()
    start = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
