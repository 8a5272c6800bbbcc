"""Traces, by OpenTelemetry: where the extra `otel` is installed and somebody says where to.

Unless `configure` was called nothing is loaded and a span does nothing. The exporter reads the
standard variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and the like) by itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_provider: TracerProvider | None = None


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether somebody says where traces go, and has not switched them off."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(environment.get(name) for name in ENDPOINTS)


def installed() -> bool:
    """Whether the extra `otel` is there."""
    return all(
        importlib.util.find_spec(name) is not None
        for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter")
    )


def configure() -> None:
    """Send traces from now on, in batches from a thread of their own."""
    global _provider
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource({SERVICE_NAME: "ntrader"}).merge(OTELResourceDetector().detect())
    _provider = TracerProvider(resource=resource)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def close() -> None:
    """Send what has not been sent."""
    global _provider
    if _provider is not None:
        _provider.shutdown()
        _provider = None


class Tracing:
    """A span that goes on, or nothing where there are no traces."""

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def set(self, name: str, value: Any) -> None:
        """Say something of what goes on."""
        if self._span is not None and value is not None:
            self._span.set_attribute(name, value)


_NOTHING = Tracing(None)


def carrier() -> dict[str, str]:
    """Return the context of the span that goes on, for a message to another process (W3C).

    It is empty where there are no traces.
    """
    found: dict[str, str] = {}
    if _provider is not None:
        _propagator().inject(found)
    return found


@contextmanager
def span(
    name: str, *, within: Mapping[str, str] | None = None, **attributes: Any
) -> Iterator[Tracing]:
    """Trace a block, as a part of the trace that `within` carries (W3C `traceparent`) if it does.

    Attributes are told as `ntrader.NAME`.
    """
    if _provider is None:
        yield _NOTHING
        return
    context = None if within is None else _propagator().extract(within)
    given = {f"ntrader.{key}": value for key, value in attributes.items() if value is not None}
    tracer = _provider.get_tracer("ntrader")
    with tracer.start_as_current_span(name, context=context, attributes=given) as started:
        yield Tracing(started)


def _propagator() -> TraceContextTextMapPropagator:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
