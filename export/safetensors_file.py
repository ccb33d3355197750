"""Tensors of a .safetensors file.

Format: https://github.com/huggingface/safetensors#format (8 bytes of header length, a JSON header,
then the data).
"""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from gptneo_onnx.export.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I64": np.dtype(np.int64),
}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of the file by name.

    Raises:
        ModelFileError: the safetensors package refuses the header (its size, offsets that overlap,
            leave gaps or leave the file), or a tensor has a type that no GPT-Neo weight has.
    """
    _check(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {
        name: _stored_tensor(path, name, entry, data_start=8 + length)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _check(path: Path) -> None:
    """Have the package parse and check the header; it maps the file but reads no weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path} is not a sound safetensors file: {error}") from error


def _stored_tensor(path: Path, name: str, entry: dict[str, Any], data_start: int) -> StoredTensor:
    if entry["dtype"] not in DTYPES:
        allowed = ", ".join(DTYPES)
        raise ModelFileError(f"{path}: {name} is of type {entry['dtype']}; {allowed} are allowed")
    start, _ = entry["data_offsets"]
    return StoredTensor(path, data_start + start, DTYPES[entry["dtype"]], tuple(entry["shape"]))
