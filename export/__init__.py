"""Exports a GPT-Neo checkpoint to ONNX graphs, without PyTorch.

    from gptneo_onnx.export import export_model

    export_model("EleutherAI/gpt-neo-1.3B", "gpt-neo-1.3B", precision="fp16")

Errors are those of gptneo_onnx.models, all under GPTNeoOnnxError: InputError for an argument,
ModelFileError for a checkpoint, ExportError for what cannot be written, and MissingDependencyError,
which importing this package raises too where the `export` extra is not installed.
"""

from gptneo_onnx.models.errors import MissingDependencyError

try:
    import ml_dtypes  # noqa: F401
    import onnx  # noqa: F401
    import safetensors  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f"exporting needs {error.name}, which is not installed: pip install 'gptneo-onnx[export]'"
    ) from error

from gptneo_onnx.export.dry_run import check_export
from gptneo_onnx.export.exporter import export_model
from gptneo_onnx.export.replace_tokenizer import set_tokenizer

__all__ = ["check_export", "export_model", "set_tokenizer"]
