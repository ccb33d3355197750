"""The user's cache folder: $GPTNEO_ONNX_CACHE, or gptneo-onnx below the platform's own."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where it is; it may not exist yet."""
    if chosen := os.environ.get("GPTNEO_ONNX_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(base) / "gptneo-onnx"
