"""Imports ONNX Runtime, an optional package here: exporting runs graphs only to check them."""

import os
from typing import Any

from gptneo_onnx.models.errors import MissingDependencyError


def import_onnx_runtime() -> Any:
    """Return the module onnxruntime; raises MissingDependencyError if it is not installed."""
    # When imported, ONNX Runtime 1.32 queues telemetry in the user's cache folder otherwise.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "checking an export needs ONNX Runtime: pip install 'gptneo-onnx[cpu]' (or [gpu])"
        ) from error
    return onnxruntime
