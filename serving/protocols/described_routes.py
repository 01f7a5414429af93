"""The protocols' addresses as the framework knows them: what it answers itself, and what it only describes."""

from __future__ import annotations

from starlette.responses import Response

from serving.protocols import descriptions as told
from serving.protocols.protocols import Asgi, Protocols
from serving.web.routing import Direct, Route


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
        Route("GET", "/v2", inference.show_server, told.describe_server),
        Route("GET", "/v2/health/live", inference.tell_live, told.describe_live),
        Route("GET", "/v2/health/ready", inference.tell_ready, told.describe_ready),
        Route("GET", "/v2/models/{name}", inference.show_model, told.describe_model),
        Route("GET", "/v2/models/{name}/ready", inference.tell_model_ready, told.describe_model_ready),
        Route("GET", "/v2/models/{name}/versions/{version}", inference.show_version, told.describe_model),
        Route(
            "GET",
            "/v2/models/{name}/versions/{version}/ready",
            inference.tell_version_ready,
            told.describe_model_ready,
        ),
        Route("POST", "/v2/models/{name}/infer", infer, told.describe_infer),
        Route("POST", "/v2/models/{name}/versions/{version}/infer", infer_version, told.describe_infer),
        Route("POST", "/invocations", invoke, told.describe_any_invocations),
        Route("POST", "/v1/models/{name}/invocations", invoke_model, told.describe_invocations),
        Route("GET", "/ping", invocations.tell_ping, told.describe_ping),
        Route("GET", "/health", invocations.tell_ping, told.describe_ping),
        Route("GET", "/version", invocations.tell_version, told.describe_version),
    ]


def _bound(protocols: Protocols, path: str) -> Asgi:
    found = protocols.find(path)
    assert found is not None, path
    return found
