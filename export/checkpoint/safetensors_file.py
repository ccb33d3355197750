"""Reads the header of a .safetensors file.

Format: https://github.com/huggingface/safetensors#format (8 bytes of header length, a JSON header,
then the data).
"""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import safe_open

from gptneo_onnx.export.checkpoint.flax_file import torch_names
from gptneo_onnx.export.checkpoint.other_formats import refuse_quantized
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError, shown

# The safetensors package allows 100 MB. GPT-Neo's largest header has 50 kB, and Python needs about
# 15 bytes of memory for each byte of a header full of empty tensors.
MAX_HEADER_BYTES = 4 * 1024 * 1024

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I64": np.dtype(np.int64),
    "I8": np.dtype(np.int8),
}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Return every tensor of the file by name, not yet read.

    A tensor that safetensors.torch.save_model left out, because it is another one's, is that one.

    Raises:
        ModelFileError: the safetensors package refuses the header (not JSON, or offsets that
            overlap, leave gaps or point outside the file); or the header is too long, names a
            tensor twice, or gives one a type that no GPT-Neo weight has.
    """
    try:
        length, header = _read_header(path)
    except ModelFileError:
        raise
    except Exception as error:  # SafetensorError derives from it alone; parsers raise many
        raise ModelFileError(
            f"{path} is not a sound safetensors file: {str(error)[:200]!r}; fetch it again"
        ) from error
    metadata = header.pop("__metadata__", None) or {}
    refuse_quantized(path, header)
    tensors = {
        name: _stored_tensor(path, name, entry, data_start=8 + length)
        for name, entry in header.items()
    }
    if metadata.get("format") == "flax":
        return _named_by_torch(path, tensors)
    shared = {
        name: tensors[kept]
        for name, kept in metadata.items()
        if kept in tensors and name not in tensors
    }
    return tensors | shared


def _named_by_torch(path: Path, tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    try:
        return torch_names(tensors)
    except ValueError as error:
        raise ModelFileError(
            f"{path} is not a sound file of Flax ({error}); fetch it again"
        ) from error


def _read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Return the header's length and contents; the package checks them and reads no weights."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ModelFileError(
                f"{path}: its header has {length} bytes; at most {MAX_HEADER_BYTES} are read"
            )
        content = file.read(length)
    with safe_open(path, framework="numpy"):
        return length, json.loads(content, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict; parsers differ in which of two equal names they take."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice in its header")
    return values


def _stored_tensor(path: Path, name: str, entry: dict[str, Any], data_start: int) -> StoredTensor:
    if entry["dtype"] not in DTYPES:
        allowed = ", ".join(DTYPES)
        raise ModelFileError(
            f"{path}: {shown(name)} is of type {entry['dtype']}; {allowed} are allowed"
        )
    start, _ = entry["data_offsets"]
    dtype = DTYPES[entry["dtype"]]
    return StoredTensor(path, name, data_start + start, dtype, tuple(entry["shape"]))
