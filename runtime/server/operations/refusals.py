"""Answers to requests that no endpoint sees, in the form of OpenAI's errors."""

import json
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_TYPES = {
    401: "authentication_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


def error_content(status: int, message: str, code: str) -> bytes:
    """Return the body of an error, in JSON."""
    kind = _TYPES.get(status, "invalid_request_error")
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}).encode()


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
        content = error_content(self.status, self.message, self.code)
        response = Response(content, self.status, self.headers, media_type="application/json")
        await response(scope, receive, send)
