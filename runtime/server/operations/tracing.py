"""Spans of OpenTelemetry for requests: with the extra `tracing`, where the environment asks."""

import os
from typing import Any

from starlette.types import Scope

from gptneo_onnx.models.errors import MissingDependencyError
from gptneo_onnx.runtime.server.operations.keys import path_of
from gptneo_onnx.runtime.server.operations.request_record import RequestRecord

# OpenTelemetry's own variables: where spans are sent to. Without either, none are made.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def tracer_of_environment() -> "Tracer | None":
    """Return what sends spans to the collector that the environment names; None if it names none.

    Raises:
        MissingDependencyError: it names one, and the extra `tracing` is not installed.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingDependencyError(
            f"{' or '.join(ENDPOINTS)} is set, which needs the package {error.name}: pip install "
            "'gptneo-onnx[tracing]', or unset it"
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "gptneo-onnx")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)


class Tracer:
    """Makes a span for each request, within the client's trace."""

    def __init__(self, provider: Any) -> None:
        """Make spans by a TracerProvider of OpenTelemetry."""
        self._provider = provider
        self._tracer = provider.get_tracer("gptneo_onnx")

    def begin(self, scope: Scope, record: RequestRecord) -> "RequestSpan":
        """Begin a request's span; the record gets its ids."""
        from dataclasses import replace

        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            TraceFlags,
            set_span_in_context,
        )

        trace, parent = record.trace, None
        if trace.parent_id is not None:
            context = SpanContext(
                int(trace.trace_id, 16),
                int(trace.parent_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(int(trace.flags, 16)),
            )
            parent = set_span_in_context(NonRecordingSpan(context))
        attributes = {"http.request.method": scope["method"], "url.path": path_of(scope)}
        span = self._tracer.start_span(
            scope["method"], context=parent, kind=SpanKind.SERVER, attributes=attributes
        )
        made = span.get_span_context()
        record.trace = replace(
            trace, trace_id=f"{made.trace_id:032x}", span_id=f"{made.span_id:016x}"
        )
        return RequestSpan(span, scope)

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


class RequestSpan:
    """The span of one request."""

    def __init__(self, span: Any, scope: Scope) -> None:
        self._span = span
        self._scope = scope

    def end(self, record: RequestRecord) -> None:
        """End the span with what is known of the request."""
        from opentelemetry.trace import StatusCode

        route = getattr(self._scope.get("route"), "path", None)
        if route is not None:
            self._span.set_attribute("http.route", route)
            self._span.update_name(f"{self._scope['method']} {route}")
        self._span.set_attribute("http.response.status_code", record.status)
        if record.model is not None:
            # Names of OpenTelemetry's conventions for generative models.
            self._span.set_attributes(
                {
                    "gen_ai.request.model": record.model,
                    "gen_ai.usage.input_tokens": record.prompt_tokens,
                    "gen_ai.usage.output_tokens": record.generated_tokens,
                    "gen_ai.latency.time_in_queue": record.queue_seconds,
                }
            )
        if record.status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
