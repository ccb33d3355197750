"""Reading JSON from files that nobody vouches for."""

import json
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError

MAX_BYTES = 64 * 1024 * 1024


def read_json_object(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        ModelFileError: the file is missing, larger than max_bytes, not JSON, nested deeper than
            Python's parser goes, or holds something other than an object.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise ModelFileError(f"{path} has {size} bytes; at most {max_bytes} are read")
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelFileError(f"{path} is missing") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ModelFileError(f"{path} is not valid JSON: {reason}") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} holds a JSON {type(content).__name__}; an object is expected")
    return content
