"""A GPT-Neo model: its config, the contracts of its graphs, its files and its errors.

A leaf: imports only the standard library, so that exporter and runtime can both use it.
"""

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.embedded import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import (
    DeviceError,
    ExportError,
    GPTNeoOnnxError,
    InputError,
    MissingDependencyError,
    ModelFileError,
)
from gptneo_onnx.models.graph import (
    DataType,
    GraphContract,
    NumberFormat,
    Precision,
    TensorSpec,
    fused_contract,
)
from gptneo_onnx.models.labels import Labels
from gptneo_onnx.models.manifest import FileRecord, Manifest
from gptneo_onnx.models.tasks import Head, Task

__all__ = [
    "EMBEDDED_CHECKPOINT",
    "DataType",
    "DeviceError",
    "ExportError",
    "FileRecord",
    "GPTNeoConfig",
    "GPTNeoOnnxError",
    "GraphContract",
    "Head",
    "InputError",
    "Labels",
    "Manifest",
    "MissingDependencyError",
    "ModelFileError",
    "NumberFormat",
    "Precision",
    "Task",
    "TensorSpec",
    "fused_contract",
]
