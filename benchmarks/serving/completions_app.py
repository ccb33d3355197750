"""OpenAI's streamed completions over an engine that has no server: as little as a server can do.

An engine is a function that takes token ids, a number of tokens and a function to call with each
new token (None at the end), and returns at once.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

Deliver = Callable[[int | None], None]
Start = Callable[[list[int], int, Deliver], None]


def serve(directory: str, port: int, start: Start) -> None:
    """Serve completions on a port of this machine until a signal ends it.

    Args:
        directory: has tokenizer.json.
        port: where to listen.
        start: the engine.
    """
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(directory) / "tokenizer.json"))
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {}

    @app.post("/v1/completions")
    async def complete(request: Request) -> StreamingResponse:
        body = await request.json()
        ids = tokenizer.encode(body["prompt"], add_special_tokens=False).ids
        return StreamingResponse(
            _events(tokenizer, start, ids, body["max_tokens"]), media_type="text/event-stream"
        )

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


async def _events(tokenizer: Any, start: Start, ids: list[int], limit: int) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    tokens: asyncio.Queue[int | None] = asyncio.Queue()
    start(ids, limit, lambda token: loop.call_soon_threadsafe(tokens.put_nowait, token))
    count = 0
    while (token := await tokens.get()) is not None:
        count += 1
        reason = "length" if count == limit else None
        yield _event([{"index": 0, "text": tokenizer.decode([token]), "finish_reason": reason}])
    yield _event([], {"prompt_tokens": len(ids), "completion_tokens": count})
    yield "data: [DONE]\n\n"


def _event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> str:
    return f"data: {json.dumps({'choices': choices, 'usage': usage})}\n\n"
