"""GET /, the files that it loads, and GET /page/status."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from gptneo_onnx.runtime.server.page.files import PageFile, read_files
from gptneo_onnx.runtime.server.served_model import ServedModel, served_models

router = APIRouter(include_in_schema=False)
_FILES = read_files()


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """Send the page."""
    return _sent(_FILES["index.html"], request)


@router.get("/page/status")
async def status(request: Request) -> dict[str, Any]:
    """Return how busy each model is; the first is the default."""
    return {"models": [_status_of(model) for model in served_models(request).values()]}


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def file(name: str, request: Request) -> Response:
    """Send a file that the page loads."""
    if name not in _FILES:
        raise HTTPException(404, "the page has no such file")
    return _sent(_FILES[name], request)


def _sent(file: PageFile, request: Request) -> Response:
    """Answer with a file, or with 304 if the browser's copy is the same."""
    known = request.headers.get("If-None-Match", "").split(",")
    if any(each.strip().removeprefix("W/") in (file.headers["ETag"], "*") for each in known):
        headers = {name: file.headers[name] for name in file.headers if name != "Content-Type"}
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=file.headers)


def _status_of(model: ServedModel) -> dict[str, Any]:
    scheduler = model.engine.scheduler
    return {
        "name": model.name,
        "max_length": model.model.config.max_position_embeddings,
        "slots": scheduler.settings.slots,
        "slots_in_use": scheduler.slots_in_use,
        "waiting": scheduler.waiting,
    }
