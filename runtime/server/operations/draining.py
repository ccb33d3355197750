"""Counts running requests, and refuses new ones while the server drains."""

from starlette.types import ASGIApp, Receive, Scope, Send

from gptneo_onnx.runtime.server.operations.keys import is_open, path_of
from gptneo_onnx.runtime.server.operations.refusals import Refusal
from gptneo_onnx.runtime.server.operations.state import ServerState

_RETRY_S = 5
METRICS = "/metrics"


class DrainGate:
    """Middleware that answers 503 to requests that come after SIGTERM; health and metrics stay."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope) or path_of(scope) == METRICS:
            await self._app(scope, receive, send)
            return
        if self._state.is_draining:
            refusal = Refusal(
                503,
                "the server is about to end, and takes no more requests; try again later",
                "shutting_down",
                {"Retry-After": str(_RETRY_S), "Connection": "close"},
            )
            await refusal.answer(scope, receive, send)
            return
        self._state.running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._state.running -= 1
