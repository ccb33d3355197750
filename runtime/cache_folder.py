"""The user's cache folder: $GPTNEO_ONNX_CACHE, or gptneo-onnx below the platform's own."""

import os
import sys
from pathlib import Path

from gptneo_onnx.models.errors import InputError


def cache_folder() -> Path:
    """Where it is; it may not exist yet.

    Raises:
        InputError: none is chosen, and the user has no home directory.
    """
    if chosen := os.environ.get("GPTNEO_ONNX_CACHE"):
        return Path(chosen)
    return _platform_folder() / "gptneo-onnx"


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # a container's user without an entry in /etc/passwd
        raise InputError(
            "there is no home directory for the cache folder; set GPTNEO_ONNX_CACHE to a folder"
        ) from error
