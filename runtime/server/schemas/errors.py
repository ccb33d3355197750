"""Errors in OpenAI's form."""

from typing import Any

from pydantic import Field

from gptneo_onnx.runtime.server.schemas.base import ResponseBody


class ErrorBody(ResponseBody):
    """What is wrong."""

    message: str = Field(description="one line: the value, what is allowed, and what to do")
    type: str = Field(description="the kind of the error, as OpenAI's API names it")
    param: str | None = Field(default=None, description="the field that is wrong, if it is one")
    code: str | None = Field(default=None, description="a name for programs")


class ErrorResponse(ResponseBody):
    """The body of every response that refuses a request."""

    error: ErrorBody


_DESCRIPTIONS: dict[int | str, str] = {
    400: "a field is wrong, or the prompt does not fit",
    401: "the API key is missing or wrong",
    404: "no such model or path",
    405: "the path has other methods",
    408: "the request was not finished in time",
    413: "the body is too large",
    429: "as many requests wait as may; see Retry-After",
    500: "an error of the server's, which its log has",
    503: "the server is about to stop",
    "4XX": "another error of the request",
}
# For the `responses` of every endpoint. With "4XX", FastAPI adds no form for 422 besides.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": text} for status, text in _DESCRIPTIONS.items()
}
