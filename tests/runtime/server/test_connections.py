"""Connections: clients that do not read, ports that are gone, signals that come early."""

import asyncio
import socket
import time

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry
from raw_http import connect, receive, request
from server_thread import running

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.operations.listener import bind
from gptneo_onnx.runtime.server.operations.protocol import Connection
from gptneo_onnx.runtime.server.run import Server


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
