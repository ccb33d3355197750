"""Server-sent events, as OpenAI's clients expect them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from gptneo_onnx.runtime.server.api.merged import while_connected
from gptneo_onnx.runtime.server.errors import status_of
from gptneo_onnx.runtime.server.schemas.base import ResponseBody

Chunks = AsyncGenerator[ResponseBody, None]
# For the `responses` of endpoints that stream.
STREAM_CONTENT: dict[str, Any] = {
    "text/event-stream": {
        "schema": {
            "type": "string",
            "description": "with stream: true, lines `data: {...}` with chunks, and `data: [DONE]`",
        }
    }
}
_DONE = b"data: [DONE]\n\n"
# Proxies such as nginx hold a response back by default.
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def event_stream(request: Request, chunks: Chunks) -> StreamingResponse:
    """Return a response with these chunks; wait for the first, so that its error has a status.

    Raises:
        GPTNeoOnnxError: what the first chunk fails with.
    """
    first = await while_connected(request, anext(chunks))
    return StreamingResponse(
        _events(first, chunks), media_type="text/event-stream", headers=_HEADERS
    )


async def _events(first: ResponseBody, chunks: Chunks) -> AsyncIterator[bytes]:
    """Yield the events; an error in their midst becomes the last one but [DONE]."""
    async with aclosing(chunks):
        yield _event(first)
        try:
            async for chunk in chunks:
                yield _event(chunk)
        except Exception as error:
            yield _event(status_of(error)[1])
    yield _DONE


def _event(body: ResponseBody) -> bytes:
    return b"data: " + body.model_dump_json(exclude_unset=True).encode() + b"\n\n"
