"""OpenTelemetry: spans of a request and of what it goes through; nothing at all where no SDK is switched on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from serving.operation.exchange import App, Receive, Scope, Send, exchange_of

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_NOTHING: AbstractContextManager[None] = nullcontext()


class _Switch:
    """Whether this process traces; one for all its requests."""

    tracing: Tracing | None = None


def span(name: str) -> AbstractContextManager[None]:
    """Make a span around a part of a request: ``with span("validate"): ...``.

    Spans follow the task that they are made in, so work that is handed to a thread is spanned where it is awaited.
    """
    tracing = _Switch.tracing
    return _NOTHING if tracing is None else tracing.span(name)


class Tracing:
    """The spans of this process; each request continues the trace that its ``traceparent`` names (W3C)."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def wrap(self, app: App) -> App:
        """Put a span around each request to an application."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            exchange = exchange_of(scope)
            if exchange is None:
                await app(scope, receive, send)
                return
            route = exchange.route
            carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            attributes = {
                "http.request.method": scope["method"],
                "http.route": route.template,
                "everfit.request_id": exchange.request_id.decode(),
            }
            with self._tracer.start_as_current_span(
                f"{scope['method']} {route.template}",
                context=extract(carrier),
                kind=SpanKind.SERVER,
                attributes=attributes,
            ) as current:
                try:
                    await app(scope, receive, send)
                finally:
                    current.set_attribute("http.response.status_code", exchange.status)
                    for key, value in (
                        ("everfit.model", exchange.model),
                        ("everfit.version", exchange.version),
                        ("everfit.path", exchange.path),
                        ("everfit.rows", exchange.n_rows),
                    ):
                        if value:
                            current.set_attribute(key, value)
                    if exchange.status >= 500:
                        current.set_status(StatusCode.ERROR)

        return traced

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Make a span inside the current one."""
        with self._tracer.start_as_current_span(name):
            yield


def switch_tracing(wanted: str) -> Tracing | None:
    """Switch tracing on where it is wanted, for this process.

    Parameters
    ----------
    wanted : str
        ``auto``: if OpenTelemetry's SDK has been loaded before, as ``opentelemetry-instrument`` does; ``otlp``: load
        it and send spans by OTLP over HTTP, as the variables ``OTEL_*`` say; ``off``: never.

    Raises
    ------
    ArgumentError
        If ``otlp`` is wanted and its packages are not installed.
    """
    _Switch.tracing = None
    if wanted == "otlp":
        _set_up_otlp()
    elif wanted == "off" or "opentelemetry.sdk" not in sys.modules:
        return None
    return trace_with(None)


def trace_with(provider: Any) -> Tracing:
    """Make spans by a tracer provider, or by the one that this process has set."""
    from opentelemetry.trace import get_tracer

    _Switch.tracing = Tracing(get_tracer("everfit", tracer_provider=provider))
    return _Switch.tracing


def stop_tracing() -> None:
    """Send what waits, and make no more spans."""
    if _Switch.tracing is not None:
        _Switch.tracing = None
        from opentelemetry.trace import get_tracer_provider

        # Only the SDK's provider has anything that waits.
        if callable(flush := getattr(get_tracer_provider(), "force_flush", None)):
            flush(2_000)


def _set_up_otlp() -> None:
    from importlib import import_module

    try:
        # By name: the SDK is nobody's dependency until somebody traces.
        exporter = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter").OTLPSpanExporter()
        sdk = import_module("opentelemetry.sdk.trace")
        processor = import_module("opentelemetry.sdk.trace.export").BatchSpanProcessor(exporter)
        resource = import_module("opentelemetry.sdk.resources").Resource
    except ImportError as error:
        raise ArgumentError(
            f"EVERFIT_TRACING is 'otlp', but {error.name or 'its packages'} cannot be imported; "
            "install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http, or set EVERFIT_TRACING=auto"
        ) from error
    from opentelemetry.trace import set_tracer_provider

    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are stronger than this name.
    # What is given here outdoes the environment, where the service may have been given another name.
    is_named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = sdk.TracerProvider(resource=resource.create({} if is_named else {"service.name": "everfit"}))
    provider.add_span_processor(processor)
    set_tracer_provider(provider)
