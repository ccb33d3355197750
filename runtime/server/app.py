"""Puts the application together."""

from collections.abc import Iterable

from fastapi import FastAPI

from gptneo_onnx.runtime.server.api import ROUTERS
from gptneo_onnx.runtime.server.errors import add_error_handlers
from gptneo_onnx.runtime.server.operations import health
from gptneo_onnx.runtime.server.operations.state import ServerState
from gptneo_onnx.runtime.server.page import router as page
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings


def create_app(models: Iterable[ServedModel], settings: ServerSettings | None = None) -> FastAPI:
    """Return the application that serves these models; the first is the default."""
    settings = settings or ServerSettings()
    app = FastAPI(
        title="gptneo-onnx",
        docs_url=None,
        redoc_url=None,
        # A redirect would name the Host that the client sent.
        redirect_slashes=False,
        root_path=settings.root_path,
    )
    app.state.models = {model.name: model for model in models}
    app.state.settings = settings
    app.state.server = ServerState()
    for router in (health.router, *ROUTERS, page.router):
        app.include_router(router)
    add_error_handlers(app)
    return app
