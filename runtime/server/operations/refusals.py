"""Answers to requests that no endpoint sees, in the form of OpenAI's errors."""

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from gptneo_onnx.runtime.server.errors import error_response


class Refusal(Exception):  # noqa: N818, an answer, not a fault
    """An answer that takes the place of an endpoint's.

    Attributes:
        status: of HTTP.
        message: one line for the person who reads it.
        code: one word for programs.
        headers: further ones.
    """

    def __init__(
        self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        response = error_response(self.status, self.message, code=self.code, headers=self.headers)
        await response(scope, receive, send)
