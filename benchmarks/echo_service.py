"""The floor of serving: the HTTP stack alone, which sends each body back.

``python -m benchmarks.echo_service PORT``: ``/`` by Starlette on uvicorn, ``/bare`` by uvicorn's own interface.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def echo(request: Request) -> Response:
    """Send a body back."""
    return Response(await request.body(), media_type="application/json")


async def echo_bare(receive: Receive, send: Send) -> None:
    """Send a body back, with nothing between it and the server."""
    message = await receive()
    body = bytearray(message["body"])
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(body)})


_STARLETTE = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Echo the one way or the other."""
    if scope["type"] == "http" and scope["path"] == "/bare":
        await echo_bare(receive, send)
    else:
        await _STARLETTE(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(application, port=int(sys.argv[1]), access_log=False, log_level="warning")
