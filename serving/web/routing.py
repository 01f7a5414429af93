"""The addresses that are asked seldom: routed by Starlette, described by what they take and answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Registered
from starlette.types import Lifespan

from base.errors import EverfitError
from base.json_values import cut_text
from serving.operation.exchange import Receive, Scope, Send
from serving.web.predict_route import send_problem
from serving.web.problems import BodyRefused

Endpoint = Callable[..., Awaitable[Response]]
Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Route:
    """An address: the endpoint takes the path's and the query's parameters by name, and ``request`` where it asks.

    ``describe`` says in OpenAPI's words what is answered; it is called when somebody asks.
    """

    method: str
    path: str
    endpoint: Endpoint
    describe: Callable[[], dict[str, Any]]


class Direct(Response):
    """An answer that is sent by what answers the address without the framework."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._answer(scope, receive, send)


def route_requests(routes: Sequence[Route], *, lifespan: Lifespan[Starlette]) -> Starlette:
    """Make an application of addresses; what an endpoint raises is answered as a problem."""
    return Starlette(
        routes=[Registered(one.path, _adapt(one.endpoint), methods=[one.method]) for one in routes],
        exception_handlers={Exception: _refuse, EverfitError: _refuse, HTTPException: _refuse_address},
        lifespan=lifespan,
    )


def _adapt(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    parameters = inspect.signature(endpoint).parameters

    async def answer(request: Request) -> Response:
        given: dict[str, Any] = dict(request.path_params)
        for name, parameter in parameters.items():
            if name == "request":
                given[name] = request
            elif name not in given:
                given[name] = request.query_params.get(name, parameter.default)
        return await endpoint(**given)

    return answer


class _Problem(Response):
    def __init__(self, error: Exception, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._error = error
        self._more = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(scope, send, self._error, headers=self._more)


async def _refuse(_request: Request, error: Exception) -> Response:
    return _Problem(error)


async def _refuse_address(request: Request, error: Exception) -> Response:
    """Answer for the router: no such address, or none that takes this method."""
    assert isinstance(error, HTTPException)
    shown = cut_text(request.url.path)
    detail = f"there is no address {shown!r}; /openapi.json lists what there is"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{shown!r} does not take {cut_text(request.method)}"
    return _Problem(BodyRefused(error.status_code, detail), headers=error.headers)
