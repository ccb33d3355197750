"""What was found out about files is remembered in the user's cache folder, by their identity."""

import json
from typing import Any

from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.runtime.files import cache_folder, replace_atomically

_MAX_REMEMBERED = 1000


def read_remembered(name: str) -> dict[str, Any]:
    """Return what a file of the cache folder remembers; nothing if it cannot be read."""
    try:
        return read_json_object(cache_folder() / name, max_bytes=1024 * 1024)
    except GPTNeoOnnxError:
        return {}


def write_remembered(name: str, values: dict[str, Any]) -> None:
    """Write the newest values; a cache folder that cannot be written costs only time."""
    newest = dict(list(values.items())[-_MAX_REMEMBERED:])
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with replace_atomically(folder / name, "w") as file:
            json.dump(newest, file)
    except (OSError, InputError):
        return
