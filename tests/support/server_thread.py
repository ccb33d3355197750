"""An application that runs on a socket, in a thread of the tests."""

import contextlib
import threading
from collections.abc import Iterator

from fastapi import FastAPI

from gptneo_onnx.runtime.server.operations.listener import bind
from gptneo_onnx.runtime.server.run import Server


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Run an application in a thread; yields its address."""
    listener = bind("127.0.0.1", 0)
    server, is_ready = Server(app, listener), threading.Event()
    thread = threading.Thread(target=server.run, args=(is_ready.set,))
    thread.start()
    assert is_ready.wait(60)
    yield listener.url
    server.stop()
    thread.join()
