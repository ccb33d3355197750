"""Puts the application together."""

from collections.abc import Iterable

from fastapi import FastAPI

from gptneo_onnx.runtime.server.api import ROUTERS
from gptneo_onnx.runtime.server.page.router import router as page_router
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings


def create_app(models: Iterable[ServedModel], settings: ServerSettings | None = None) -> FastAPI:
    """Return the application that serves these models; the first is the default."""
    app = FastAPI(title="gptneo-onnx", docs_url=None, redoc_url=None)
    app.state.models = {model.name: model for model in models}
    app.state.settings = settings or ServerSettings()
    for router in [*ROUTERS, page_router]:
        app.include_router(router)
    return app
