"""POST /v1/completions."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gptneo_onnx.runtime.server.api.completion_run import CompletionRun
from gptneo_onnx.runtime.server.api.event_stream import STREAM_CONTENT, event_stream
from gptneo_onnx.runtime.server.api.merged import while_connected
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
    run.start()
    try:
        if body.stream:
            return await event_stream(request, run.chunks())
        return await while_connected(request, run.completion())
    except BaseException:
        run.cancel()
        raise
