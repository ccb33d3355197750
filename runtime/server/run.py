"""Runs a server until a signal ends it: opens the port, serves, drains."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.server.operations.listener import Listener
from gptneo_onnx.runtime.server.operations.log_format import LOGGER
from gptneo_onnx.runtime.server.operations.protocol import BACKLOG, Connection, most_connections
from gptneo_onnx.runtime.server.operations.state import ServerState
from gptneo_onnx.runtime.server.served_model import ServedModel

# For those who wait for a request to write that it was ended.
_LAST_WORDS_S = 2.0
_POLL_S = 0.05
_log = logging.getLogger(LOGGER)


class Server:
    """An application on a socket.

    stop() may be called from any thread, and from a signal's handler.
    """

    def __init__(self, app: FastAPI, listener: Listener) -> None:
        self._app = app
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopped = False
        self._stopped = asyncio.Event()
        settings = app.state.settings
        certificate, key = listener.certificate, listener.key
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                http=Connection,
                backlog=BACKLOG,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                root_path=settings.root_path,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=int(_LAST_WORDS_S),
                ssl_certfile=None if certificate is None else str(certificate),
                ssl_keyfile=None if key is None else str(key),
            )
        )

    def run(self, when_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until stop() was called and what runs has ended.

        Args:
            when_ready: called once the port is open.

        Raises:
            InputError: the port cannot be opened.
        """
        Connection.most = most_connections()
        asyncio.run(self._serve(when_ready))

    def stop(self) -> None:
        """Take no more requests, and end once those that run are finished or out of time."""
        self._is_stopped = True  # for a loop that has not begun
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self, when_ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        if self._is_stopped:
            return
        serving = asyncio.ensure_future(self._uvicorn.serve([self._listener.socket]))
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(_POLL_S)
        if not serving.done():
            when_ready()
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await self._drain()
            self._uvicorn.should_exit = True
        stopped.cancel()
        try:
            await serving
        except OSError as error:
            raise InputError(self._listener.why_not_open(error)) from error

    async def _drain(self) -> None:
        """Let running requests finish; end those that do not in time."""
        state: ServerState = self._app.state.server
        state.is_draining = True
        seconds = self._app.state.settings.drain_seconds
        _log.info("draining: %d requests run, for %g seconds at most", state.running, seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while state.running:
                    await asyncio.sleep(_POLL_S)
        if state.running:
            _log.warning("%d requests were not finished in %g seconds", state.running, seconds)
        models: dict[str, ServedModel] = self._app.state.models
        engines = {id(model.engine): model.engine for model in models.values()}
        await asyncio.gather(*(engine.close() for engine in engines.values()))


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, which leaves signals to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
