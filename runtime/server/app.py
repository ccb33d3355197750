"""Puts the application together."""

from collections.abc import Iterable

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.routing import Route

from gptneo_onnx.runtime.server.api import ROUTERS
from gptneo_onnx.runtime.server.errors import add_error_handlers
from gptneo_onnx.runtime.server.operations import health, metrics
from gptneo_onnx.runtime.server.operations.draining import DrainGate
from gptneo_onnx.runtime.server.operations.keys import KeyGuard
from gptneo_onnx.runtime.server.operations.metrics import HttpMetrics
from gptneo_onnx.runtime.server.operations.request_limits import RequestLimits
from gptneo_onnx.runtime.server.operations.request_log import REQUEST_ID, RequestLog
from gptneo_onnx.runtime.server.operations.scheduler_metrics import SchedulerCollector
from gptneo_onnx.runtime.server.operations.state import ServerState
from gptneo_onnx.runtime.server.operations.tracing import Tracer
from gptneo_onnx.runtime.server.page import router as page
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings


def create_app(
    models: Iterable[ServedModel],
    settings: ServerSettings | None = None,
    registry: CollectorRegistry | None = None,
    tracer: Tracer | None = None,
) -> FastAPI:
    """Return the application that serves these models.

    Args:
        models: those that are served; the first is the default.
        settings: what the server is told.
        registry: what GET /metrics shows; engines may count into it too.
        tracer: makes a span for each request; None makes no spans.
    """
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
    app.state.registry = registry or CollectorRegistry()
    _count(app)
    for router in (health.router, metrics.router, *ROUTERS, page.router):
        app.include_router(router)
    add_error_handlers(app)
    _add_middleware(app, settings, tracer)
    return app


def _count(app: FastAPI) -> None:
    """Have metrics read off the engines; one that has several names counts by its first."""
    engines = {id(model.engine): model for model in reversed(app.state.models.values())}
    named = {model.name: model.engine for model in reversed(engines.values())}
    app.state.registry.register(SchedulerCollector(named))
    ProcessCollector(registry=app.state.registry)


def _add_middleware(app: FastAPI, settings: ServerSettings, tracer: Tracer | None) -> None:
    """Wrap the endpoints; what is added last sees a request first."""
    app.add_middleware(RequestLimits, settings=settings)
    app.add_middleware(
        KeyGuard, keys=settings.api_keys, max_concurrent=settings.max_concurrent_per_key
    )
    app.add_middleware(DrainGate, state=app.state.server)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=(REQUEST_ID, "Retry-After"),
        )
    paths = {route.path for route in app.routes if isinstance(route, Route)}
    http_metrics = HttpMetrics(app.state.registry, paths)
    app.add_middleware(RequestLog, metrics=http_metrics, tracer=tracer)
