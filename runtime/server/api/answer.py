"""From the run of a request to its response, whole or streamed."""

from collections.abc import AsyncGenerator
from typing import Protocol, TypeVar

from fastapi import Request
from fastapi.responses import Response

from gptneo_onnx.runtime.server.api.event_stream import event_stream
from gptneo_onnx.runtime.server.api.merged import while_connected
from gptneo_onnx.runtime.server.schemas.base import ResponseBody

Whole = TypeVar("Whole", covariant=True)
Chunk = TypeVar("Chunk", bound=ResponseBody, covariant=True)


class Run(Protocol[Whole, Chunk]):
    """A request that generates."""

    def start(self) -> None:
        """Begin to generate."""

    def cancel(self) -> None:
        """End what is left."""

    async def completion(self) -> Whole:
        """Return all results at once."""

    def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield the results in parts."""


async def answer(
    request: Request, run: Run[Whole, ResponseBody], is_streamed: bool
) -> Whole | Response:
    """Start a run and return its results, or a response with them in parts.

    Everything is cancelled where no answer comes about, as when the client has gone.

    Raises:
        GPTNeoOnnxError: what the run fails with.
    """
    run.start()
    try:
        if is_streamed:
            return await event_stream(request, run.chunks())
        return await while_connected(request, run.completion())
    except BaseException:
        run.cancel()
        raise
