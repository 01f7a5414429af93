"""The protocols' addresses as the framework knows them: what it answers itself, and what it only describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Response

from serving.operation.exchange import Receive, Scope, Send
from serving.protocols import descriptions as told
from serving.protocols.protocols import Asgi, Protocols

Route = tuple[str, str, Callable[..., Any], dict[str, Any]]


class Direct(Response):
    """An answer that is sent by what answers the address without the framework."""

    def __init__(self, answer: Asgi) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._answer(scope, receive, send)


def protocol_routes(protocols: Protocols) -> list[Route]:
    """List the protocols' addresses: method, path, endpoint and description."""

    async def infer(name: str) -> Response:
        """Predict tensors by the Open Inference Protocol; every answer is in the log before it is given."""
        return Direct(_bound(protocols, f"/v2/models/{name}/infer"))

    async def infer_version(name: str, version: str) -> Response:
        """Predict tensors by one version in service."""
        return Direct(_bound(protocols, f"/v2/models/{name}/versions/{version}/infer"))

    async def invoke() -> Response:
        """Predict rows by MLflow's scoring protocol, with the model that is asked for or the only one in service."""
        return Direct(_bound(protocols, "/invocations"))

    async def invoke_model(name: str) -> Response:
        """Predict rows by MLflow's scoring protocol."""
        return Direct(_bound(protocols, f"/v1/models/{name}/invocations"))

    inference, invocations = protocols.inference, protocols.invocations
    return [
        ("GET", "/v2", inference.show_server, told.describe_server()),
        ("GET", "/v2/health/live", inference.tell_live, told.describe_live()),
        ("GET", "/v2/health/ready", inference.tell_ready, told.describe_ready()),
        ("GET", "/v2/models/{name}", inference.show_model, told.describe_model()),
        ("GET", "/v2/models/{name}/ready", inference.tell_model_ready, told.describe_model_ready()),
        ("GET", "/v2/models/{name}/versions/{version}", inference.show_version, told.describe_model()),
        (
            "GET",
            "/v2/models/{name}/versions/{version}/ready",
            inference.tell_version_ready,
            told.describe_model_ready(),
        ),
        ("POST", "/v2/models/{name}/infer", infer, told.describe_infer()),
        ("POST", "/v2/models/{name}/versions/{version}/infer", infer_version, told.describe_infer()),
        ("POST", "/invocations", invoke, told.describe_any_invocations()),
        ("POST", "/v1/models/{name}/invocations", invoke_model, told.describe_invocations()),
        ("GET", "/ping", invocations.tell_ping, told.describe_ping()),
        ("GET", "/health", invocations.tell_ping, told.describe_ping()),
        ("GET", "/version", invocations.tell_version, told.describe_version()),
    ]


def _bound(protocols: Protocols, path: str) -> Asgi:
    found = protocols.find(path)
    assert found is not None, path
    return found
