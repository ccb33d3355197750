"""From a GPT-Neo checkpoint to ONNX graphs, without PyTorch."""

from gptneo_onnx.models.errors import MissingDependencyError

try:
    import ml_dtypes  # noqa: F401
    import onnx  # noqa: F401
    import safetensors  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f"exporting needs {error.name}, which is not installed: pip install 'gptneo-onnx[export]'"
    ) from error

from gptneo_onnx.export.exporter import export_model

__all__ = ["export_model"]
