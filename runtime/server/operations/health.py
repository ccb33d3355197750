"""GET /health, for those who restart a server, and GET /ready, for those who send it requests."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from gptneo_onnx.runtime.server.operations.state import ServerState

router = APIRouter()


@router.api_route("/health", methods=["GET", "HEAD"])
async def health() -> JSONResponse:
    """Say that the process lives and answers."""
    return JSONResponse({"status": "ok"})


@router.api_route("/ready", methods=["GET", "HEAD"])
async def ready(request: Request) -> JSONResponse:
    """Say whether new requests are taken: status 503 while the server drains."""
    state: ServerState = request.app.state.server
    if state.is_draining:
        return JSONResponse({"status": "draining"}, 503, {"Retry-After": "5"})
    return JSONResponse({"status": "ready"})
