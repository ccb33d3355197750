"""Limits on requests: the size of their heads; size, time and depth of their bodies."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gptneo_onnx.runtime.server.operations.json_depth import is_too_deep
from gptneo_onnx.runtime.server.operations.refusals import Refusal
from gptneo_onnx.runtime.server.settings import ServerSettings

MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 200
# Bodies of the largest size that may be read at the same time, in bytes together.
_BODIES = 64
_RETRY_S = 1
_VERSIONS = ("1.0", "1.1")
_CLOSE = {"Connection": "close"}  # the rest of the body is not read


class RequestLimits:
    """Middleware that reads a request within limits, and then passes it on with its whole body."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._most = settings.max_body_bytes
        self._seconds = settings.body_seconds
        self._depth = settings.max_json_depth
        self._reading = 0  # bytes of bodies that are not complete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            _check_head(scope)
            self._check_length(Headers(scope=scope))
            body = await self._read(receive)
            if body is not None and is_too_deep(body, self._depth):
                raise Refusal(
                    400,
                    f"the body has more than {self._depth} lists and objects within each other",
                    "json_too_deep",
                )
        except Refusal as refusal:
            await refusal.answer(scope, receive, send)
            return
        if body is not None:  # otherwise the client has left
            await self._app(scope, _replayed(body, receive), send)

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length")
        if length is not None and "transfer-encoding" in headers:
            # Proxies disagree about which one counts; whoever sends both may want them to.
            raise Refusal(
                400,
                "Content-Length and Transfer-Encoding exclude each other; send one of them",
                "ambiguous_length",
                _CLOSE,
            )
        if length is not None and int(length) > self._most:
            raise self._too_large()

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body; None if the client leaves before its end."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    piece = message.get("body", b"")
                    body += piece
                    self._reading += len(piece)
                    self._check_size(len(body))
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise Refusal(
                408,
                f"the body did not arrive in {self._seconds:g} seconds",
                "request_timeout",
                _CLOSE,
            ) from error
        finally:
            self._reading -= len(body)

    def _check_size(self, size: int) -> None:
        if size > self._most:
            raise self._too_large()
        if self._reading > self._most * _BODIES:
            raise Refusal(
                503,
                "too many large requests are being read; try again later",
                "overloaded",
                {**_CLOSE, "Retry-After": str(_RETRY_S)},
            )

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"the body has more than {self._most} bytes; shorten it",
            "request_too_large",
            _CLOSE,
        )


def _check_head(scope: Scope) -> None:
    """Refuse a head that is too large, which h11 takes if it comes at once, and other versions."""
    headers = scope["headers"]
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in headers)
    if size > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS:
        raise Refusal(
            431,
            f"the head has more than {MAX_HEAD_BYTES} bytes, or {MAX_HEADERS} headers; shorten it",
            "head_too_large",
            _CLOSE,
        )
    if scope["http_version"] not in _VERSIONS:
        raise Refusal(
            505, f"HTTP {scope['http_version']} is not spoken here; use 1.1", "http_version", _CLOSE
        )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body first, and then what comes after it."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return whole.pop() if whole else await receive()

    return next_message
