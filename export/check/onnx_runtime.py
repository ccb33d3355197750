"""ONNX Runtime, which checks and verifications run an exported graph with."""

from typing import Any

from gptneo_onnx.models.errors import MissingDependencyError


def import_onnx_runtime() -> Any:
    """The module; raises MissingDependencyError if it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "checking an export needs ONNX Runtime: pip install 'gptneo-onnx[cpu]' (or [gpu])"
        ) from error
    return onnxruntime
