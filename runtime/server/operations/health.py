"""GET /health, for those who restart a server, and GET /ready, for those who send it requests."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from gptneo_onnx.runtime.server.operations.state import ServerState
from gptneo_onnx.runtime.server.served_model import served_models

router = APIRouter()


@router.get("/health")
@router.head("/health", include_in_schema=False)
async def health(request: Request) -> JSONResponse:
    """Say whether the process can answer: status 503 where only a restart helps."""
    state: ServerState = request.app.state.server
    engines = [model.engine for model in served_models(request).values()]
    if not state.is_draining and not all(engine.scheduler.is_alive for engine in engines):
        return JSONResponse({"status": "failed"}, 503)
    return JSONResponse({"status": "ok"})


@router.get("/ready")
@router.head("/ready", include_in_schema=False)
async def ready(request: Request) -> JSONResponse:
    """Say whether new requests are taken: status 503 while the server drains."""
    state: ServerState = request.app.state.server
    if state.is_draining:
        return JSONResponse({"status": "draining"}, 503, {"Retry-After": "5"})
    return JSONResponse({"status": "ready"})
