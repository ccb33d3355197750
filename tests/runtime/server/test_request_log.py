"""The log line, id and trace of each request, and what is logged when one fails."""

import asyncio
import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry
from server_process import serving
from server_thread import running

from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.operations.log_format import set_up_logs
from gptneo_onnx.runtime.server.operations.trace_context import trace_context
from gptneo_onnx.runtime.server.operations.tracing import Tracer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def test_a_request_keeps_its_id_and_its_trace(open_server):
    sent = {"X-Request-ID": "order-66", "traceparent": TRACEPARENT}
    answer = httpx.get(f"{open_server.url}/v1/models", headers=sent)
    assert answer.headers["x-request-id"] == "order-66"
    version, trace, span, flags = answer.headers["traceresponse"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != PARENT
    [line] = open_server.logged("order-66", 1)
    assert f"trace_id={TRACE}" in line


def test_a_refusal_has_an_id_too(open_server):
    answers = [httpx.get(f"{open_server.url}/nothing") for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        TRACEPARENT[:-1],
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_a_trace_that_is_none_begins_a_new_one(header):
    context = trace_context(header)
    assert context.parent_id is None
    assert context.trace_id != TRACE
    assert len(context.trace_id) == 32


def test_a_later_version_of_the_header_is_read():
    assert trace_context(f"01-{TRACE}-{PARENT}-01-more").parent_id == PARENT


def test_a_path_cannot_write_lines_or_fields_into_the_log(open_server):
    mark = "forged-7f3a"
    for path in (
        f"/{mark}%0a2026-01-01T00:00:00.000Z%20info%20request",
        f"/{mark}%20status=200%1b[2J",
    ):
        assert httpx.get(open_server.url + path).status_code == 404
    lines = open_server.logged(mark, 2)
    assert len(lines) == 2
    for line in lines:
        assert f'path="/{mark}' in line  # in quotation marks, so that it is one field
        assert " status=404 " in line
        assert line.isprintable()


def test_json_lines_have_what_a_request_took(embedded_export):
    options = ["--log-format", "json", "--served-model-name", "tiny"]
    with serving(embedded_export, *options) as server:
        body = {"prompt": "She was", "max_tokens": 3, "ignore_eos": True}
        usage = httpx.post(f"{server.url}/v1/completions", json=body).json()["usage"]
        httpx.get(f"{server.url}/health")
        vectors = httpx.post(f"{server.url}/v1/embeddings", json={"input": ["She", "It is"]}).json()
        server.logged("/v1/embeddings", 1)
        lines = [json.loads(line) for line in server.log.read_text().splitlines()[1:]]
    line, embedding = [line for line in lines if line["message"] == "request"]  # /health has none
    assert embedding["prompt_tokens"] == vectors["usage"]["prompt_tokens"] > 1
    assert line["level"] == "info"
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/completions", 200)
    assert line["model"] == "tiny"
    assert line["prompt_tokens"] == usage["prompt_tokens"]
    assert (line["generated_tokens"], line["cached_tokens"]) == (3, 0)
    assert 0 <= line["queue_seconds"] <= line["seconds"]
    assert line["client"] == "127.0.0.1"
    assert "She was" not in json.dumps(lines)


@pytest.fixture
def log():
    """What is logged, as text; loggers are as before afterwards."""
    names = ("gptneo_onnx", "uvicorn")
    before = [(logging.getLogger(name).handlers, logging.getLogger(name).level) for name in names]
    stream = io.StringIO()
    set_up_logs("text", "info", stream)
    yield stream
    for name, (handlers, level) in zip(names, before, strict=True):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = handlers, True
        logger.setLevel(level)


def failing_app(tracer: Tracer | None = None) -> FastAPI:
    """The application without a model, with endpoints that fail."""
    app = create_app([], registry=CollectorRegistry(), tracer=tracer)

    @app.get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError("on purpose")

    @app.get("/fails-late")
    async def fails_late() -> StreamingResponse:
        async def pieces():
            yield b"one"
            raise ZeroDivisionError("on purpose")

        return StreamingResponse(pieces())

    @app.get("/works")
    async def works() -> dict[str, bool]:
        await asyncio.sleep(0.05)
        return {"works": True}

    return app


def test_a_failure_is_answered_and_logged_and_hits_nobody_else(log):
    with running(failing_app()) as url, ThreadPoolExecutor(3) as pool:
        paths = ("/works", "/fails", "/works")
        works, fails, works_too = pool.map(lambda path: httpx.get(url + path), paths)
    assert (works.status_code, works_too.status_code) == (200, 200)
    assert fails.status_code == 500
    error = fails.json()["error"]
    named = fails.headers["x-request-id"]
    assert named in error["message"]
    assert "ZeroDivisionError" not in fails.text
    assert f"GET /fails failed id={named}\nTraceback" in log.getvalue()
    assert log.getvalue().count("ZeroDivisionError: on purpose") == 1


def test_a_failure_within_an_answer_cuts_it_and_is_logged_once(log):
    with running(failing_app()) as url:
        with pytest.raises(httpx.RemoteProtocolError):  # not taken for the whole answer
            httpx.get(f"{url}/fails-late")
        assert httpx.get(f"{url}/works").status_code == 200
    assert "GET /fails-late failed" in log.getvalue()
    assert log.getvalue().count("Traceback") == 1


def test_a_log_that_cannot_be_written_stops_nothing(log):
    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    set_up_logs("text", "info", FullDisk())
    with running(failing_app()) as url:
        assert httpx.get(f"{url}/works").status_code == 200


def test_spans_belong_to_the_clients_trace(log):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with running(failing_app(Tracer(provider))) as url:
        works = httpx.get(f"{url}/works", headers={"traceparent": TRACEPARENT})
        fails = httpx.get(f"{url}/fails")
    first, second = exporter.get_finished_spans()
    assert first.name == "GET /works"
    assert f"{first.context.trace_id:032x}" == TRACE
    assert f"{first.parent.span_id:016x}" == PARENT
    assert works.headers["traceresponse"].split("-")[2] == f"{first.context.span_id:016x}"
    assert first.attributes["http.response.status_code"] == 200
    assert second.parent is None
    assert second.attributes["http.response.status_code"] == 500
    assert not second.status.is_ok
    assert fails.headers["traceresponse"].split("-")[1] == f"{second.context.trace_id:032x}"
