"""The application of the prediction service: which address is answered by what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from base.errors import EverfitError
from base.settings import Settings
from registry.store import Registry
from serving.operation.exchange import Receive, Scope, Send
from serving.operation.metrics_route import MetricsRoute
from serving.operation.operation import Operation
from serving.operation.request_scope import RequestScope
from serving.service import Service
from serving.web.descriptions import describe
from serving.web.label_route import LabelRoute
from serving.web.model_routes import ModelRoutes
from serving.web.predict_route import PredictRoute, model_of, send_problem

Handler = Callable[[Scope, Receive, Send, str], Awaitable[None]]


def create_app(
    settings: Settings, registry: Registry, *, models: Collection[str] | None = None, numbers: Path | None = None
) -> RequestScope:
    """Make the service that follows the champions of the registry's environment, as an ASGI application.

    Parameters
    ----------
    models : collection of str, optional
        Serve these only; default: every model that has a champion, also one that gets its first later.
    numbers : Path, optional
        Folder in which the workers of one service leave their numbers; default: there is only this one.
    """
    service = Service(settings, registry, models)
    operation = Operation(settings, registry, service, numbers=numbers)
    return operation.wrap(_Dispatcher(_make_framework_app(service, operation), PredictRoute(service)))


class _Dispatcher:
    """Takes the way around the framework for requests that are asked most."""

    def __init__(self, app: FastAPI, predict: PredictRoute) -> None:
        self._app = app
        self._predict = predict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            name = model_of(scope["path"])
            if name is not None:
                await self._predict(scope, receive, send, name)
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


def _make_framework_app(service: Service, operation: Operation) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        operation.start()
        yield
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(operation.stop)

    # The interactive pages load their scripts from a foreign host; the machine-readable description stays.
    app = FastAPI(title="Everfit predictions", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(Exception, _refuse)
    app.add_exception_handler(EverfitError, _refuse)
    models, labels, predict = ModelRoutes(service), LabelRoute(service), PredictRoute(service)

    async def predict_rows(name: str) -> Response:
        """Predict rows; every answer is in the log before it is given."""
        return _Direct(predict, name)

    routes: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("GET", "/healthz", models.tell_health, {}),
        ("GET", "/readyz", models.tell_readiness, describe(503)),
        ("GET", "/metrics", MetricsRoute(operation).show_metrics, {}),
        ("GET", "/v1/models", models.list_models, {}),
        ("GET", "/v1/models/{name}", models.show_model, describe(404, 503)),
        ("GET", "/v1/models/{name}/versions/{number}/report", models.show_report, describe(404)),
        ("POST", "/v1/models/{name}/predict", predict_rows, describe(400, 404, 413, 422, 503, body="rows")),
        ("POST", "/v1/models/{name}/labels", labels.add_labels, describe(400, 404, 413, 422, 503, body="labels")),
    ]
    for method, path, endpoint, description in routes:
        app.add_api_route(path, endpoint, methods=[method], response_class=Response, **description)
    return app


class _Problem(Response):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(scope, send, self._error)


async def _refuse(_request: Request, error: Exception) -> Response:
    return _Problem(error)
