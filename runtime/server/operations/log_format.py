"""How a server logs: lines of text, or an object of JSON a line, on standard error."""

import json
import logging
import sys
import time
from typing import Any, TextIO

from gptneo_onnx.models.errors import printable

LOGGER = "gptneo_onnx.server"
_ALL_OURS = "gptneo_onnx"
# What uvicorn says again that a line of ours has said already.
_SAID_TWICE = ("Exception in ASGI application", "ASGI callable returned without")
_FIELDS = "fields"


def set_up_logs(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Have the server's and uvicorn's logs written to a stream.

    A line that cannot be written, as on a full disk, is lost, and nothing else is.

    Args:
        log_format: text or json.
        level: the least level that is written: debug, info, warning or error.
        stream: standard error by default.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    handler.addFilter(_is_said_once)
    others = "warning" if level == "info" else level
    for name, least in ((_ALL_OURS, level), ("uvicorn", others), ("asyncio", others)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(least.upper())


def with_fields(**fields: Any) -> dict[str, Any]:
    """Return the argument `extra` of a logging call that gives its line these fields."""
    return {_FIELDS: {name: value for name, value in fields.items() if value is not None}}


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, logging's name
        """Lose the line."""


def _is_said_once(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_SAID_TWICE)


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03}Z"


def _trace(record: logging.LogRecord) -> str | None:
    if record.exc_info is None or record.exc_info[0] is None:
        return None
    return logging.Formatter().formatException(record.exc_info)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if trace := _trace(record):
            line["traceback"] = trace
        return json.dumps(line)  # ASCII: control characters are escapes


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, _FIELDS, {}).items()
        words = [_time(record), record.levelname.lower(), printable(record.getMessage())]
        line = " ".join([*words, *(f"{name}={_shown(value)}" for name, value in fields)])
        trace = _trace(record)
        return line if trace is None else f"{line}\n{trace}"


def _shown(value: Any) -> str:
    text = printable(str(value))
    return json.dumps(text) if " " in text or not text else text
