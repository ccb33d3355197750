"""Read JSON from untrusted files."""

import json
import math
import stat
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 100
_MAX_DIGITS = 4000  # Python itself converts 4300
_TOO_DEEP = f"nested too deeply, at most {MAX_DEPTH} levels are read"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_object(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        ModelFileError: the file is missing, not a regular file, larger than max_bytes, not JSON,
            nested deeper than MAX_DEPTH, or holds something other than an object.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
            raise ModelFileError(f"{path} is not a regular file; a JSON file is expected")
        if status.st_size > max_bytes:
            raise ModelFileError(f"{path} has {status.st_size} bytes; at most {max_bytes} are read")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(f"{path} is missing") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    return json_object(content, path, max_bytes)


def json_object(content: bytes, path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return the object that the contents of a JSON file are; errors are read_json_object()'s."""
    if len(content) > max_bytes:
        raise ModelFileError(f"{path} has {len(content)} bytes; at most {max_bytes} are read")
    try:
        values = json.loads(content)
    except RecursionError as error:
        raise _too_deep(path) from error
    except ValueError as error:
        raise ModelFileError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ModelFileError(f"{path} holds a JSON {type(values).__name__}; an object is expected")
    if not _is_shallow(values):
        raise _too_deep(path)
    return values


def parse_json(text: str, is_finite: bool = False) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the text.
        is_finite: whether to refuse NaN and infinite numbers, which Python writes and JSON has not.

    Raises:
        ValueError: it is not JSON, is nested deeper than MAX_DEPTH, or has a number that is too
            long; the message is one line.
    """
    kinds: dict[str, Any] = (
        {"parse_constant": _refuse_constant, "parse_float": _finite} if is_finite else {}
    )
    try:
        value = json.loads(text, parse_int=_whole, **kinds)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}, at character {error.pos + 1}") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    if not _is_shallow(value):
        raise ValueError(_TOO_DEEP)
    return value


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"the number {digits[:20]}... has {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def read_json_bytes(path: Path) -> bytes:
    """Return a JSON file's bytes without a byte order mark, which many readers of JSON refuse."""
    return path.read_bytes().removeprefix(_BYTE_ORDER_MARK)


def _is_shallow(value: Any) -> bool:
    """Return whether a value has few enough levels for any later code to recurse in it."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return True
    return False


def _too_deep(path: Path) -> ModelFileError:
    return ModelFileError(f"{path} is not valid JSON: {_TOO_DEEP}")
