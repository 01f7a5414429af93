"""The application of the prediction service: which address is answered by what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import Response

from base.settings import Settings
from registry.store import Registry
from serving.hooks.descriptions import describe_hooks
from serving.hooks.route import HookRoute
from serving.operation.exchange import Receive, Scope, Send
from serving.operation.metrics_route import MetricsRoute
from serving.operation.operation import Operation
from serving.operation.request_scope import RequestScope
from serving.protocols.described_routes import protocol_routes
from serving.protocols.protocols import Protocols
from serving.service import Service
from serving.web import descriptions as told
from serving.web.label_route import LabelRoute, describe_label_body
from serving.web.model_routes import ModelRoutes
from serving.web.openapi import OpenApiRoute
from serving.web.predict_route import PredictRoute, model_of
from serving.web.routing import Direct, Route, route_requests


def create_app(
    settings: Settings,
    registry: Registry,
    *,
    models: Collection[str] | None = None,
    numbers: Path | None = None,
    is_replacement: bool = False,
    desk: str | None = None,
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
    desk : str, optional
        The function that takes what hooks ask for, such as ``monitoring.desk:take``; default: hooks are refused.
    """
    service = Service(settings, registry, models)
    operation = Operation(settings, registry, service, numbers=numbers, is_replacement=is_replacement)
    protocols = Protocols(service)
    predict = PredictRoute(service)
    hooks = HookRoute(settings, registry, operation.tallies, desk=desk)
    routed = _route(service, operation, protocols, predict, hooks)
    return operation.wrap(_Dispatcher(routed, predict, protocols))


class _Dispatcher:
    """Takes the way around the framework for requests that are asked most."""

    def __init__(self, app: Starlette, predict: PredictRoute, protocols: Protocols) -> None:
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


def _route(
    service: Service, operation: Operation, protocols: Protocols, predict: PredictRoute, hooks: HookRoute
) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        service.start()
        await operation.start()
        yield
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(operation.stop)

    models, labels, metrics = ModelRoutes(service), LabelRoute(service), MetricsRoute(operation)

    async def predict_rows(name: str) -> Response:
        """Predict rows; every answer is in the log before it is given."""
        return Direct(partial(predict, name=name))

    async def take_hook(pipeline: str) -> Response:
        """Take a signed hook, and say what the arbiter makes of it."""
        return Direct(partial(hooks, pipeline=pipeline))

    routes = [
        Route("GET", "/healthz", models.tell_health, told.describe_health),
        Route("GET", "/readyz", models.tell_readiness, told.describe_readiness),
        Route("GET", "/metrics", metrics.show_metrics, told.describe_metrics),
        Route("GET", "/v1/models", models.list_models, told.describe_models),
        Route("GET", "/v1/models/{name}", models.show_model, told.describe_model),
        Route("GET", "/v1/models/{name}/versions/{number:int}/report", models.show_report, told.describe_report),
        Route("POST", "/v1/models/{name}/predict", predict_rows, told.describe_predict),
        Route(
            "POST",
            "/v1/models/{name}/labels",
            labels.add_labels,
            lambda: told.describe_labels(describe_label_body()),
        ),
        Route("POST", "/v1/hooks/{pipeline}", take_hook, describe_hooks),
        *protocol_routes(protocols),
    ]
    openapi = OpenApiRoute(routes)
    return route_requests([*routes, Route("GET", "/openapi.json", openapi.show_description, dict)], lifespan=lifespan)
