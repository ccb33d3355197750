"""POST /v1/chat/completions."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gptneo_onnx.runtime.server.api.answer import answer
from gptneo_onnx.runtime.server.api.chat_run import ChatRun
from gptneo_onnx.runtime.server.api.event_stream import STREAM_CONTENT
from gptneo_onnx.runtime.server.schemas.chats import ChatCompletion, ChatRequest
from gptneo_onnx.runtime.server.schemas.errors import ERRORS
from gptneo_onnx.runtime.server.served_model import requested_model

router = APIRouter()


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    response_model_exclude_unset=True,
    responses={**ERRORS, 200: {"content": STREAM_CONTENT}},
)
async def create_chat_completion(body: ChatRequest, request: Request) -> ChatCompletion | Response:
    """Answer a chat; needs a model with a chat template."""
    model = requested_model(request, body.model)
    # In a thread: templates are rendered, and grammars compiled.
    run = await asyncio.to_thread(ChatRun, body, model, request.app.state.settings)
    return await answer(request, run, bool(body.stream))
