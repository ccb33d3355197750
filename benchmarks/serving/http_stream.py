"""A client of OpenAI's completions that costs little: asyncio's streams, and no library on top.

What it takes of a processor is taken from the engine that is measured beside it.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

LARGEST_LINE = 1 << 24


@dataclass
class Answer:
    """What a server answered to a request.

    Attributes:
        status: of HTTP; 0 if the connection broke before it.
        sent: when the request was sent, in seconds of time.perf_counter().
        times: when each part with text came.
        text: the text.
        tokens: how many tokens the server counts, or parts if it does not say.
        token_ids: the tokens of each result, if they were asked for.
        finish_reason: why it ended; None if it did not.
        is_done: whether the stream ended as it should: with [DONE], or a reason (transformers').
        error: what the server said instead, or what broke.
    """

    status: int = 0
    sent: float = 0.0
    times: list[float] = field(default_factory=list)
    text: str = ""
    tokens: int = 0
    token_ids: dict[int, list[int]] = field(default_factory=dict)
    finish_reason: str | None = None
    is_done: bool = False
    error: str | None = None


@dataclass
class Behaviour:
    """What a client does beside reading.

    Attributes:
        leaves_after: parts after which it closes the connection; None to stay.
        pause: seconds that it waits before each part that it reads.
    """

    leaves_after: int | None = None
    pause: float = 0.0


async def stream_completion(
    url: str, body: dict[str, Any], behaviour: Behaviour | None = None
) -> Answer:
    """Send a request to URL/v1/completions, and read the parts of the answer."""
    behaviour = behaviour or Behaviour()
    answer = Answer()
    encoded = json.dumps(body | {"stream": True, "stream_options": {"include_usage": True}})
    try:
        async with connected(url) as (reader, writer):
            answer.sent = time.perf_counter()
            writer.write(request_bytes(url, "/v1/completions", encoded.encode()))
            await writer.drain()
            answer.status, headers = await read_head(reader)
            if answer.status != 200:
                answer.error = (await read_body(reader, headers)).decode(errors="replace")
                return answer
            async for event in _events(reader, headers):
                if behaviour.pause:
                    await asyncio.sleep(behaviour.pause)
                _take(answer, event)
                if len(answer.times) == behaviour.leaves_after:
                    return answer
            answer.is_done = answer.is_done or answer.finish_reason is not None
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        answer.error = f"{type(error).__name__}: {error}"
    return answer


def _take(answer: Answer, event: bytes) -> None:
    """Add an event to an answer."""
    if event == b"[DONE]":
        answer.is_done = True
        return
    part = json.loads(event)
    if "error" in part:
        answer.error = json.dumps(part["error"])
        return
    for choice in part.get("choices", ()):
        if choice.get("text"):
            answer.times.append(time.perf_counter())
            answer.text += choice["text"]
            answer.tokens += 1
        if choice.get("token_ids"):
            answer.token_ids.setdefault(choice["index"], []).extend(choice["token_ids"])
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if part.get("usage"):
        answer.tokens = part["usage"]["completion_tokens"]


@contextlib.asynccontextmanager
async def connected(
    url: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the server of a URL; close the connection at the end."""
    host = urlsplit(url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=LARGEST_LINE)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def request_bytes(url: str, path: str, body: bytes = b"", method: str = "POST") -> bytes:
    """Return a request of HTTP/1.1, after which the connection ends."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Return an answer's status and headers, by their names in lower case."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = (line.partition(":") for line in head[1:] if line)
    return int(head[0].split()[1]), {name.lower(): value.strip() for name, _, value in headers}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Return an answer's body whole."""
    return b"".join([piece async for piece in _pieces(reader, headers)])


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """Yield a body as it comes, without the frames of its chunks."""
    if headers.get("transfer-encoding") != "chunked":
        while piece := await reader.read(1 << 16):
            yield piece
        return
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)


async def _events(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """Yield the data of server-sent events, each of one line."""
    pending = b""
    async for piece in _pieces(reader, headers):
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


async def post(url: str, path: str, body: bytes, method: str = "POST") -> tuple[int, bytes]:
    """Send a request; return the answer's status and its body."""
    async with connected(url) as (reader, writer):
        writer.write(request_bytes(url, path, body, method))
        await writer.drain()
        status, headers = await read_head(reader)
        return status, await read_body(reader, headers)
