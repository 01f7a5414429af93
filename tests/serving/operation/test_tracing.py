"""Claims about traces: off they cost nothing, on they continue the client's trace and tell what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace

from base.errors import ArgumentError
from serving.access.routes import Routes
from serving.operation.exchange import Receive, Scope, Send, exchange_of
from serving.operation.request_scope import RequestScope
from serving.operation.tallies import Tallies
from serving.operation.tracing import span, stop_tracing, switch_tracing, trace_with

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


class _Span(trace.NonRecordingSpan):
    def __init__(self, name: str, context: trace.SpanContext, attributes: dict[str, Any]) -> None:
        super().__init__(context)
        self.name = name
        self.attributes = attributes

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value


class _Tracer(trace.Tracer):
    """A tracer with the interface of an SDK's, which keeps its spans."""

    def __init__(self) -> None:
        self.spans: list[_Span] = []

    def start_span(self, name: str, context: Any = None, **options: Any) -> _Span:  # type: ignore[override]
        parent = trace.get_current_span(context).get_span_context()
        own = trace.SpanContext(parent.trace_id, len(self.spans) + 1, is_remote=False)
        self.spans.append(_Span(name, own, dict(options.get("attributes") or {})))
        return self.spans[-1]

    @contextmanager
    def start_as_current_span(self, name: str, context: Any = None, **options: Any) -> Iterator[Any]:  # type: ignore[override]
        with trace.use_span(self.start_span(name, context, **options)) as current:
            yield current


class _Provider(trace.TracerProvider):
    def __init__(self) -> None:
        self.tracer = _Tracer()

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self.tracer


async def _predict(scope: Scope, _receive: Receive, send: Send) -> None:
    with span("score"):
        exchange = exchange_of(scope)
        assert exchange is not None
        exchange.model, exchange.version, exchange.path, exchange.n_rows = "trips", 3, "onnx", 2
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_spans_continue_the_trace_of_the_client_and_tell_what_was_answered() -> None:
    provider, tallies = _Provider(), Tallies()
    app = RequestScope(_predict, tallies=tallies, routes=Routes(tallies), tracing=trace_with(provider))
    headers: Sequence[tuple[bytes, bytes]] = [(b"traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01".encode())]

    async def send(_: Any) -> None: ...

    async def receive() -> dict[str, Any]:
        return {}

    scope = {"type": "http", "method": "POST", "path": "/v1/models/trips/predict", "headers": headers}
    asyncio.run(app(scope, receive, send))
    stop_tracing()

    request, score = provider.tracer.spans
    assert (request.name, score.name) == ("POST /v1/models/{name}/predict", "score")
    assert {f"{one.get_span_context().trace_id:032x}" for one in (request, score)} == {TRACE_ID}
    assert request.attributes["everfit.version"] == 3
    assert request.attributes["http.response.status_code"] == 200


def test_without_an_sdk_a_span_is_nothing_and_always_the_same() -> None:
    assert switch_tracing("auto") is None
    assert span("validate") is span("score")


def test_traces_that_are_wanted_and_cannot_be_sent_are_refused_with_what_to_install() -> None:
    pytest.importorskip("opentelemetry.trace")
    try:
        import opentelemetry.sdk.trace  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError:
        with pytest.raises(ArgumentError, match="install opentelemetry-sdk"):
            switch_tracing("otlp")
    else:
        pytest.skip("OpenTelemetry's SDK is installed")
