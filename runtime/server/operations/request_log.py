"""Names each request, answers for those that fail, and writes a line for each."""

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gptneo_onnx.runtime.server.operations.keys import path_of
from gptneo_onnx.runtime.server.operations.log_format import LOGGER, with_fields
from gptneo_onnx.runtime.server.operations.metrics import HttpMetrics
from gptneo_onnx.runtime.server.operations.refusals import Refusal
from gptneo_onnx.runtime.server.operations.request_record import (
    RequestRecord,
    begin_record,
    current_record,
)
from gptneo_onnx.runtime.server.operations.trace_context import trace_context
from gptneo_onnx.runtime.server.operations.tracing import Tracer

REQUEST_ID = "X-Request-ID"
TRACE = "traceresponse"
# What is asked for every few seconds is worth a line for those alone who look for it.
_QUIET_PATHS = ("/health", "/ready", "/metrics")
_log = logging.getLogger(LOGGER)


class RequestLog:
    """The outermost middleware: what it does not see, nobody sees.

    An exception that no endpoint answers becomes status 500; other requests go on.
    """

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, tracer: Tracer | None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        trace = trace_context(headers.get("traceparent"))
        record = begin_record(scope, headers.get(REQUEST_ID), trace)
        current_record.set(record)
        span = self._tracer.begin(scope, record) if self._tracer else None
        try:
            await self._answer(scope, receive, send, record)
        finally:
            seconds = time.perf_counter() - record.began
            self._metrics.answered(scope, record.status, seconds)
            _write_line(scope, record, seconds)
            if span is not None:
                span.end(record)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, record: RequestRecord
    ) -> None:
        has_begun = False

        async def send_named(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                record.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = record.id
                headers[TRACE] = record.trace.header
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:
            record.status = 500
            _log.exception(
                "%s %s failed", scope["method"], path_of(scope), extra=with_fields(id=record.id)
            )
            if not has_begun:  # otherwise the connection is closed before the answer's end
                refusal = Refusal(
                    500,
                    f"the server failed; its log says why, at request {record.id}",
                    "internal_error",
                )
                await refusal.answer(scope, receive, send_named)


def _write_line(scope: Scope, record: RequestRecord, seconds: float) -> None:
    path = path_of(scope)
    is_quiet = path in _QUIET_PATHS and record.status < 400
    level = logging.DEBUG if is_quiet else logging.INFO
    if not _log.isEnabledFor(level):
        return
    client = scope.get("client")
    fields = with_fields(
        method=scope["method"],
        path=path[:200],
        status=record.status,
        seconds=round(seconds, 4),
        id=record.id,
        trace_id=record.trace.trace_id,
        key=record.key,
        client=client[0] if client else None,
        **_served(record),
    )
    _log.log(level, "request", extra=fields)


def _served(record: RequestRecord) -> dict[str, str | int | float | None]:
    if record.model is None:
        return {}
    return {
        "model": record.model,
        "prompt_tokens": record.prompt_tokens,
        "cached_tokens": record.cached_tokens,
        "generated_tokens": record.generated_tokens,
        "queue_seconds": round(record.queue_seconds, 4),
    }
