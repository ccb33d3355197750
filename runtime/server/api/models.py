"""GET /v1/models."""

from typing import Any

from fastapi import APIRouter, Request

from gptneo_onnx.runtime.server.served_model import served_models

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> dict[str, Any]:
    """List the models that are served."""
    return {
        "object": "list",
        "data": [
            {"id": model.name, "object": "model", "created": model.created, "owned_by": "user"}
            for model in served_models(request).values()
        ],
    }
