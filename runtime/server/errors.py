"""Errors in OpenAI's form: what clients of its API can read.

A field that is wrong is answered with 400, as OpenAI's server does, whether its type, its value or
its combination with others is wrong; 422 is never sent.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError, printable, shown
from gptneo_onnx.runtime.scheduling import (
    QueueFullError,
    RequestTimeoutError,
    SchedulerClosedError,
)
from gptneo_onnx.runtime.server.schemas.errors import ErrorBody, ErrorResponse

RETRY_SECONDS = 1
_LOG = logging.getLogger(__name__)
_LONGEST = 1200


class UnknownModelError(GPTNeoOnnxError):
    """A request names a model that is not served."""


class ClientGoneError(GPTNeoOnnxError):
    """The client closed the connection before it had its answer."""


class ParameterError(InputError):
    """A field of a request is wrong.

    Attributes:
        param: the field.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


# The first that an error is an instance of counts: status, code.
_STATUSES: Sequence[tuple[type[Exception], int, str | None]] = (
    (UnknownModelError, 404, "model_not_found"),
    (QueueFullError, 429, "queue_full"),
    (RequestTimeoutError, 408, "timeout"),
    (SchedulerClosedError, 503, "shutting_down"),
    (ClientGoneError, 499, "client_gone"),  # nginx's status; nobody reads it but logs
    (InputError, 400, None),
)
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    408: "timeout_error",
    429: "rate_limit_error",
}


def error_body(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> ErrorResponse:
    """Return the body of an error; its message becomes one printable line."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = printable(message, _LONGEST)
    return ErrorResponse(error=ErrorBody(message=message, type=kind, param=param, code=code))


def error_response(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a response with an error."""
    body = error_body(status, message, param=param, code=code)
    return JSONResponse(body.model_dump(), status, dict(headers or {}))


def status_of(error: BaseException) -> tuple[int, ErrorResponse]:
    """Return the status and the body of the answer to an error; an unexpected one is logged."""
    for kind, status, code in _STATUSES:
        if isinstance(error, kind):
            param = getattr(error, "param", None)
            return status, error_body(status, str(error), param=param, code=code)
    _LOG.error("a request failed", exc_info=error)
    message = str(error) if isinstance(error, GPTNeoOnnxError) else "the server failed; see its log"
    return 500, error_body(500, message, code="internal_error")


def response_of(error: BaseException) -> JSONResponse:
    """Return the answer to an error."""
    status, body = status_of(error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if status in (429, 503) else {}
    return JSONResponse(body.model_dump(), status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Let an application answer every error in OpenAI's form."""

    async def refuse(request: Request, error: Exception) -> Response:
        return response_of(error)

    async def refuse_fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        message, param = described(error.errors(), error.body)
        return error_response(400, message, param=param)

    async def refuse_path(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_response(
            error.status_code, _http_message(request, error), headers=error.headers
        )

    app.add_exception_handler(GPTNeoOnnxError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_fields)
    app.add_exception_handler(HTTPException, refuse_path)
    app.add_exception_handler(Exception, refuse)


def _http_message(request: Request, error: HTTPException) -> str:
    method, path = request.method, shown(request.url.path)
    if error.status_code == 404 and error.detail == "Not Found":
        return f"there is no {path}; /openapi.json lists what there is"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow")
        return f"{method} is not for {path}" + (f"; use {allowed}" if allowed else "")
    return str(error.detail)


def described(errors: Sequence[Mapping[str, Any]], body: Any) -> tuple[str, str | None]:
    """Return what is wrong with a request's fields in a line, and the first field that is wrong.

    Args:
        errors: pydantic's.
        body: the request's, parsed.
    """
    first = errors[0]
    context = first.get("ctx") or {}
    if first["type"] == "refused_field":
        return context["message"], context["param"]
    if first["type"] == "json_invalid":
        return f"the body is no JSON: {context.get('error', first['msg'])}", None
    place = [part for part in first["loc"] if part != "body"]
    if not place:
        return _of_body(first), None
    field = str(place[0])
    of_field = [each for each in errors if [*each["loc"]][1:2] == place[:1]]
    if len(of_field) == 1:
        name = ".".join(map(str, place))
        return f"{name} is {_value(first)}; {_allowed(first)}", field
    reasons = dict.fromkeys(_allowed(each) for each in of_field)
    value = body.get(field) if isinstance(body, dict) else None
    return f"{field} is {shown(value)}; {', or '.join(reasons)}", field


def _of_body(error: Mapping[str, Any]) -> str:
    if isinstance(error.get("input"), bytes):
        return "the body is not marked as JSON; send the header Content-Type: application/json"
    if error["type"] == "missing":
        return "the body is empty; send a JSON object"
    return f"the body is wrong: {_allowed(error)}"


def _value(error: Mapping[str, Any]) -> str:
    return "missing" if error["type"] == "missing" else shown(error.get("input"))


def _allowed(error: Mapping[str, Any]) -> str:
    message = str(error["msg"])
    return message[:1].lower() + message[1:]
