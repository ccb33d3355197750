"""A real uvicorn server in a thread, for applications under test."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.scheduling import AsyncEngine, SchedulerSettings
from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings


def served_model(
    export: Path,
    name: str = "tiny",
    tokenizer: Tokenizer | None = None,
    file_name: str | None = None,
    **settings: Any,
) -> ServedModel:
    """Load an export for a server."""
    model = GPTNeoForCausalLM.from_pretrained(
        export, "cpu", file_name=file_name, batch_invariant=file_name is None
    )
    engine = AsyncEngine(model, SchedulerSettings(**settings))
    return ServedModel(name, model, tokenizer or Tokenizer.from_pretrained(export), engine)


@contextlib.contextmanager
def running_server(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port; yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextlib.contextmanager
def model_server(*models: ServedModel, settings: ServerSettings | None = None) -> Iterator[str]:
    """Serve models; yield the address, and close their engines at the end."""
    try:
        with running_server(create_app(models, settings)) as address:
            yield address
    finally:
        for model in models:
            model.engine.scheduler.close()
