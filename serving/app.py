"""The application of the prediction service: which address is answered by what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from base.errors import EverfitError, Fault
from base.json_values import cut_text, show_value
from base.settings import Settings
from registry.store import Registry
from serving.operation.exchange import Receive, Scope, Send
from serving.operation.metrics_route import MetricsRoute
from serving.operation.operation import Operation
from serving.operation.request_scope import RequestScope
from serving.protocols.described_routes import protocol_routes
from serving.protocols.descriptions import SCHEMAS as PROTOCOL_SCHEMAS
from serving.protocols.protocols import Protocols
from serving.service import Service
from serving.web import descriptions as told
from serving.web.label_route import LabelRoute, describe_label_body
from serving.web.model_routes import ModelRoutes
from serving.web.predict_route import PredictRoute, model_of, send_problem
from serving.web.problems import BodyRefused, FaultsFound

Handler = Callable[[Scope, Receive, Send, str], Awaitable[None]]


def create_app(
    settings: Settings,
    registry: Registry,
    *,
    models: Collection[str] | None = None,
    numbers: Path | None = None,
    is_replacement: bool = False,
) -> RequestScope:
    """Make the service that follows the champions of the registry's environment, as an ASGI application.

    Parameters
    ----------
    models : collection of str, optional
        Serve these only; default: every model that has a champion, also one that gets its first later.
    numbers : Path, optional
        Folder in which the workers of one service leave their numbers; default: there is only this one.
    is_replacement : bool
        Whether other workers answer already, so that this one may load its models first.
    """
    service = Service(settings, registry, models)
    operation = Operation(settings, registry, service, numbers=numbers, is_replacement=is_replacement)
    protocols = Protocols(service)
    framework = _make_framework_app(service, operation, protocols)
    return operation.wrap(_Dispatcher(framework, PredictRoute(service), protocols))


class _Dispatcher:
    """Takes the way around the framework for requests that are asked most."""

    def __init__(self, app: FastAPI, predict: PredictRoute, protocols: Protocols) -> None:
        self._app = app
        self._predict = predict
        self._protocols = protocols

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            # The server leaves the body out, by its own record of the request.
            scope = {**scope, "method": "GET"}
        elif scope["type"] == "http" and scope["method"] == "POST":
            name = model_of(scope["path"])
            if name is not None:
                bulk = self._protocols.find_bulk(scope, name)
                await (self._predict(scope, receive, send, name) if bulk is None else bulk(scope, receive, send))
                return
            found = self._protocols.find(scope["path"])
            if found is not None:
                await found(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Direct(Response):
    """An answer that a handler sends itself."""

    def __init__(self, handler: Handler, name: str) -> None:
        super().__init__()
        self._handler = handler
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handler(scope, receive, send, self._name)


def _make_framework_app(service: Service, operation: Operation, protocols: Protocols) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        await operation.start()
        yield
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(operation.stop)

    # The interactive pages load their scripts from a foreign host; the machine-readable description stays.
    app = FastAPI(title="Everfit predictions", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(Exception, _refuse)
    app.add_exception_handler(EverfitError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_address)
    app.add_exception_handler(RequestValidationError, _refuse_parameters)
    models, labels, predict = ModelRoutes(service), LabelRoute(service), PredictRoute(service)

    async def predict_rows(name: str) -> Response:
        """Predict rows; every answer is in the log before it is given."""
        return _Direct(predict, name)

    routes: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("GET", "/healthz", models.tell_health, told.describe_health()),
        ("GET", "/readyz", models.tell_readiness, told.describe_readiness()),
        ("GET", "/metrics", MetricsRoute(operation).show_metrics, told.describe_metrics()),
        ("GET", "/v1/models", models.list_models, told.describe_models()),
        ("GET", "/v1/models/{name}", models.show_model, told.describe_model()),
        ("GET", "/v1/models/{name}/versions/{number}/report", models.show_report, told.describe_report()),
        ("POST", "/v1/models/{name}/predict", predict_rows, told.describe_predict()),
        ("POST", "/v1/models/{name}/labels", labels.add_labels, told.describe_labels(describe_label_body())),
        *protocol_routes(protocols),
    ]
    for method, path, endpoint, description in routes:
        app.add_api_route(path, endpoint, methods=[method], response_class=Response, **description)
    told.describe_openapi(app, PROTOCOL_SCHEMAS)
    return app


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


async def _refuse_parameters(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    return _Problem(
        FaultsFound([Fault(str(each["loc"][-1]), show_value(each["input"]), cut_text(each["msg"])) for each in found])
    )
