"""All protocols beside the service's own, put together: who answers which address."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Protocol

from serving.operation.exchange import Receive, Scope, Send
from serving.protocols.bulk_route import BulkRoute, is_plain
from serving.protocols.infer_route import InferRoute, infer_target
from serving.protocols.inference_routes import InferenceRoutes
from serving.protocols.mlflow_route import InvocationRoute, invocation_target
from serving.protocols.requests import headers_of
from serving.service import Service


class Asgi(Protocol):
    """What answers a request on the server's own interface."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request."""


class Protocols:
    """The routes of Open Inference, MLflow and Arrow."""

    def __init__(self, service: Service) -> None:
        self.infer = InferRoute(service)
        self.inference = InferenceRoutes(service)
        self.invocations = InvocationRoute(service)
        self.bulk = BulkRoute(service)

    def find(self, path: str) -> Asgi | None:
        """Say who answers a POST to an address without the framework; None: nobody here."""
        target = infer_target(path)
        if target is not None:
            return partial(self.infer, name=target[0], version=target[1])
        model = invocation_target(path)
        return None if model is None else partial(self.invocations, name=model)

    def find_bulk(self, scope: Scope, name: str) -> Asgi | None:
        """Say who answers a request for predictions that is not plain JSON; None: it is."""
        return None if is_plain(headers_of(scope)) else partial(self.bulk, name=name)
