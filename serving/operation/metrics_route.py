"""The address at which Prometheus scrapes."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from serving.operation.families import write_prometheus
from serving.operation.operation import Operation


class MetricsRoute:
    """Answers ``GET /metrics``."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    async def show_metrics(self, request: Request) -> Response:
        """Tell what is measured, for Prometheus: as OpenMetrics where that is accepted, else in its own text format."""
        accept = request.headers.get("accept", "")
        # Reading the other workers' files and writing thousands of samples must not hold a prediction up.
        body, media_type = await asyncio.to_thread(self._write, accept)
        return Response(body, headers={"content-type": media_type})

    def _write(self, accept: str) -> tuple[bytes, str]:
        return write_prometheus(self._operation.collect(), accept=accept)
