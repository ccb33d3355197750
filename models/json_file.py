"""Read JSON from untrusted files."""

import json
import stat
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 100
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
    _check_depth(path, values)
    return values


def read_json_bytes(path: Path) -> bytes:
    """Return a JSON file's bytes without a byte order mark, which many readers of JSON refuse."""
    return path.read_bytes().removeprefix(_BYTE_ORDER_MARK)


def _check_depth(path: Path, content: dict[str, Any]) -> None:
    """Refuse deep nesting, so that no later code recurses too deeply in a value."""
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise _too_deep(path)


def _too_deep(path: Path) -> ModelFileError:
    return ModelFileError(
        f"{path} is not valid JSON: nested too deeply, at most {MAX_DEPTH} levels are read"
    )
