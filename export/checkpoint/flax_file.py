"""Reads a flax_model.msgpack, without Flax.

flax.serialization writes nested maps in MessagePack (https://github.com/msgpack/msgpack/spec). An
array is an extension of type 1: a packed list of its shape, the name of its type, and its bytes.
Arrays over a gigabyte are maps of flat pieces.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError, shown

MAX_VALUES = 100_000
_MAX_DEPTH = 32
_MAX_NAME_BYTES = 256
_ARRAY = 1  # flax.serialization._MsgpackExtType.ndarray
_CHUNKED = "__msgpack_chunked_array__"
_DTYPES: dict[str, np.dtype[Any]] = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    **{
        name: np.dtype(name)
        for name in ("float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool")
    },
}
# Formats of MessagePack that carry a length, and the bytes that the length takes.
_MAPS = {0xDE: 2, 0xDF: 4}
_LISTS = {0xDC: 2, 0xDD: 4}
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def read_flax_file(path: Path) -> dict[str, StoredTensor]:
    """Return every array of the file by the name that PyTorch has for it, not yet read.

    Raises:
        ModelFileError: the file is not such a tree of arrays, or is damaged.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(path, file)
            tree = reader.value()
            if not isinstance(tree, dict) or file.read(1):
                raise ValueError("it does not hold one map")
            return torch_names(dict(_leaves(tree)))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ModelFileError(
            f"{path} is not a sound file of Flax ({str(error)[:200]!r}); fetch it again"
        ) from error


def torch_names(arrays: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return Flax's arrays under PyTorch's names; kernels are the transposes of weights."""
    tensors = {}
    for name, array in arrays.items():
        stem, _, kind = name.rpartition(".")
        if kind in ("kernel", "scale", "embedding"):
            name = f"{stem}.weight"
        if kind == "kernel" and len(array.shape) == 2:
            array = replace(array, shape=array.shape[::-1], transposed=True)
        if name in tensors:
            raise ValueError(f"two arrays are {shown(name)}")
        tensors[name] = array
    return tensors


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, StoredTensor]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value.get(_CHUNKED) is True:
            value = _joined(value)
        if isinstance(value, dict):
            yield from _leaves(value, f"{name}.")
        elif isinstance(value, StoredTensor):
            yield name, replace(value, name=name)
        else:
            raise ValueError(f"{shown(name)} is not an array")


def _joined(chunked: dict[str, Any]) -> StoredTensor:
    """Return the array whose flat pieces are a map's."""
    shape = tuple(chunked["shape"][str(axis)] for axis in range(len(chunked["shape"])))
    chunks = [chunked["chunks"][str(index)] for index in range(len(chunked["chunks"]))]
    first = chunks[0] if chunks else None
    if not isinstance(first, StoredTensor) or any(chunk.dtype != first.dtype for chunk in chunks):
        raise ValueError("the pieces of an array are not arrays of one type")
    if not _is_shape(shape) or prod(shape) != sum(prod(chunk.shape) for chunk in chunks):
        raise ValueError("the pieces of an array do not make its shape")
    pieces = tuple((chunk.offset, chunk.nbytes) for chunk in chunks)
    return replace(first, shape=shape, pieces=pieces)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list | tuple) and all(type(size) is int for size in shape)


class _Reader:
    """Reads values of MessagePack in turn; arrays are located and passed over."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.values = 0

    def value(self, depth: int = 0) -> Any:
        self.values += 1
        if depth > _MAX_DEPTH or self.values > MAX_VALUES:
            raise ValueError("it holds more values or levels than a model has")
        code = self.number(1)
        if code < 0x80:
            return code
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _UNSIGNED:
            return self.number(_UNSIGNED[code])
        if code & 0xF0 == 0x80 or code in _MAPS:
            return self.map(self.number(_MAPS[code]) if code in _MAPS else code & 0x0F, depth)
        if code & 0xF0 == 0x90 or code in _LISTS:
            count = self.number(_LISTS[code]) if code in _LISTS else code & 0x0F
            return [self.value(depth + 1) for _ in range(count)]
        if code & 0xE0 == 0xA0 or code in _STRINGS:
            return self.string(self.number(_STRINGS[code]) if code in _STRINGS else code & 0x1F)
        if code in _EXTENSIONS:
            return self.array(self.number(_EXTENSIONS[code]))
        if 0xD4 <= code <= 0xD8:
            return self.array(1 << (code - 0xD4))
        raise ValueError(f"it has a value of format 0x{code:02x}")

    def map(self, count: int, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, str) or key in values:
                raise ValueError("a key of a map is no name, or stands twice")
            values[key] = self.value(depth + 1)
        return values

    def array(self, length: int) -> StoredTensor:
        """Locate the array of an extension of that many bytes."""
        if self.number(1) != _ARRAY:
            raise ValueError("it has an extension that is not an array")
        end = self.file.tell() + length
        if self.number(1) != 0x93:
            raise ValueError("an array is not a list of shape, type and bytes")
        shape, dtype = self.value(_MAX_DEPTH - 1), _DTYPES[self.value(_MAX_DEPTH)]
        count = self.number(_BYTES[self.number(1)])
        start = self.file.tell()
        if not _is_shape(shape) or count != prod(shape) * dtype.itemsize or start + count != end:
            raise ValueError("an array's bytes do not make its shape")
        if end > self.size:
            raise ValueError("it is truncated")
        self.file.seek(end)
        return StoredTensor(self.path, "", start, dtype, tuple(shape))

    def string(self, length: int) -> str:
        if length > _MAX_NAME_BYTES:
            raise ValueError(f"it has a name of {length} bytes")
        return self.take(length).decode()

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def take(self, length: int) -> bytes:
        content = self.file.read(length)
        if len(content) < length:
            raise ValueError("it is truncated")
        return content
