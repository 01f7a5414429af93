"""The floor of serving: the HTTP stack alone, which sends each body back.

``python -m benchmarks.echo_service PORT``
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]


async def echo(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Send a body back."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = bytearray(message["body"])
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(body)})


if __name__ == "__main__":
    uvicorn.run(echo, port=int(sys.argv[1]), access_log=False, log_level="warning")
