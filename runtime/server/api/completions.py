"""POST /v1/completions."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gptneo_onnx.runtime.server.api.answer import answer
from gptneo_onnx.runtime.server.api.completion_run import CompletionRun
from gptneo_onnx.runtime.server.api.event_stream import STREAM_CONTENT
from gptneo_onnx.runtime.server.schemas.completions import Completion, CompletionRequest
from gptneo_onnx.runtime.server.schemas.errors import ERRORS
from gptneo_onnx.runtime.server.served_model import requested_model

router = APIRouter()


@router.post(
    "/v1/completions",
    response_model=Completion,
    response_model_exclude_unset=True,
    responses={**ERRORS, 200: {"content": STREAM_CONTENT}},
)
async def create_completion(body: CompletionRequest, request: Request) -> Completion | Response:
    """Continue texts."""
    model = requested_model(request, body.model)
    # In a thread: grammars are compiled, and long texts encoded.
    run = await asyncio.to_thread(CompletionRun, body, model, request.app.state.settings)
    return await answer(request, run, bool(body.stream))
