"""Connections: clients that do not read, ports that are gone, signals that come early."""

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry
from raw_http import connect, receive, request, send
from server_thread import running

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.operations.listener import bind
from gptneo_onnx.runtime.server.operations.protocol import Connection
from gptneo_onnx.runtime.server.run import Server
from gptneo_onnx.runtime.server.settings import ServerSettings


def empty_app() -> FastAPI:
    return create_app([], registry=CollectorRegistry())


def test_a_client_that_does_not_read_is_cut_off(monkeypatch):
    """Its request ends too: the endpoint's iterator is closed."""
    monkeypatch.setattr(Connection, "read_seconds", 0.5)
    app, ended = empty_app(), []

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def pieces():
            try:
                while True:
                    yield b"x" * 65536
                    await asyncio.sleep(0)
            finally:
                ended.append(True)

        return StreamingResponse(pieces())

    with running(app) as url, connect(url) as connection:
        connection.sendall(request("GET", "/endless"))
        end = time.monotonic() + 60
        while not ended and time.monotonic() < end:
            time.sleep(0.05)
        assert ended
        answer = receive(connection)
    assert answer.is_closed
    assert not answer.content.endswith(b"0\r\n\r\n")  # as a whole answer ends


def test_a_port_that_another_program_took_meanwhile_is_named():
    listener = bind("127.0.0.1", 0)
    port = listener.socket.getsockname()[1]
    with listener.socket, socket.socket() as faster:
        faster.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        faster.bind(("127.0.0.1", port))
        faster.listen()
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is in use by another"):
            Server(empty_app(), listener).run()


def test_a_signal_before_the_server_runs_is_heeded():
    listener = bind("127.0.0.1", 0)
    with listener.socket:
        server = Server(empty_app(), listener)
        server.stop()
        server.run(lambda: pytest.fail("it is ready"))


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_address_is_one_that_a_browser_takes(host, address):
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("needs IPv6")
    try:
        listener = bind(host, 0)
    except InputError:
        pytest.skip(f"this machine has no {host}")
    with listener.socket as bound:
        assert listener.url == f"http://{address}:{bound.getsockname()[1]}"


FLOOD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))
from gptneo_onnx.runtime.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of open files are POSIX's")
def test_more_connections_than_files_may_be_open_are_refused(embedded_export, tmp_path):
    """And the log does not grow by them."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", FLOOD, "serve", str(embedded_export), "--port", "0"]
    with log.open("wb") as file, subprocess.Popen(command, stderr=file) as process:
        url = address_in(log, process)
        with contextlib.ExitStack() as stack:
            flood = [stack.enter_context(connect(url)) for _ in range(900)]
            refused = receive(flood[-1])
            assert refused.statuses == [503]
            assert refused.error["code"] == "overloaded"
        assert send(url, request("GET", "/health")).statuses == [200]
        process.terminate()
        assert process.wait(60) == 0
    assert log.stat().st_size < 10_000


def address_in(log: Path, process: "subprocess.Popen[bytes]") -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r" on (http\S+)$", log.read_text(), re.MULTILINE):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_bodies_that_are_read_at_the_same_time_take_bounded_memory():
    """64 of the largest size: a client that holds more of them back is refused."""
    app = create_app([], ServerSettings(max_body_bytes=1000), registry=CollectorRegistry())
    head = request("POST", "/nothing", b"", "Content-Length: 1000")
    with running(app) as url, contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(url)) for _ in range(65)]
        for connection in held:
            connection.sendall(head + b" " * 999)
        refused = send(url, head + b" " * 999)
        assert refused.statuses == [503]
        assert refused.error["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) > 0
        held[0].sendall(b" ")  # who has begun may end
        assert receive(held[0]).statuses == [404]
