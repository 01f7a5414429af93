"""The machine-readable description of the addresses, made when somebody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from starlette.responses import Response

from serving.web.model_routes import json_response
from serving.web.routing import Route


class OpenApiRoute:
    """Answers ``GET /openapi.json``."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    async def show_description(self) -> Response:
        """Tell the addresses, what they take and what they answer."""
        return json_response(await asyncio.to_thread(lambda: self._document))

    @cached_property
    def _document(self) -> dict[str, Any]:
        # FastAPI reads the endpoints' parameters. It costs a fifth of a second, which few services ever need.
        from fastapi import FastAPI, Response
        from fastapi.openapi.utils import get_openapi

        from serving.protocols.descriptions import SCHEMAS as PROTOCOL_SCHEMAS
        from serving.web.descriptions import SCHEMAS

        app = FastAPI(title="Everfit predictions")
        for one in self._routes:
            app.add_api_route(one.path, one.endpoint, methods=[one.method], response_class=Response, **one.describe())
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document.setdefault("components", {})["schemas"] = {**SCHEMAS, **PROTOCOL_SCHEMAS}
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        # An empty requirement beside it: a service that is bound to loopback asks nobody.
        document["security"] = [{}, {"token": []}]
        return document
