"""Tensors of a pytorch_model.bin, without PyTorch and without running what a pickle asks to run.

torch.save writes an uncompressed zip: NAME/data.pkl, a pickle of the state dict in which tensors
refer to storages by key, and NAME/data/KEY, the bytes of each storage.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from gptneo_onnx.export.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError

MAX_PICKLE_BYTES = 64 * 1024 * 1024
MAX_ELEMENTS = 2**40
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and the extra field


@dataclass(frozen=True)
class StorageType:
    """What a torch.*Storage class says: the type of its elements."""

    dtype: np.dtype[Any]


STORAGE_TYPES = {
    "DoubleStorage": StorageType(np.dtype(np.float64)),
    "FloatStorage": StorageType(np.dtype(np.float32)),
    "HalfStorage": StorageType(np.dtype(np.float16)),
    "BFloat16Storage": StorageType(np.dtype(ml_dtypes.bfloat16)),
    "LongStorage": StorageType(np.dtype(np.int64)),
    "ByteStorage": StorageType(np.dtype(np.uint8)),
    "BoolStorage": StorageType(np.dtype(np.bool_)),
}


@dataclass(frozen=True)
class Storage:
    """One storage of the archive: a run of elements, not yet read."""

    dtype: np.dtype[Any]
    key: str
    elements: int


@dataclass(frozen=True)
class StorageView:
    """What torch._utils._rebuild_tensor_v2 would make a tensor of."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_torch_file(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of the file by name.

    Raises:
        ModelFileError: not such a zip, damaged, a tensor that leaves its storage or is not
            contiguous, or a pickle that asks for anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            root = _root(path, entries)
            views = _unpickle(path, archive, entries[f"{root}/data.pkl"])
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} is not a zip archive as torch.save writes it (PyTorch 1.6 or later): {error}"
        ) from error
    return {
        name: _locate(path, name, view, entries.get(f"{root}/data/{view.storage.key}"))
        for name, view in views.items()
    }


def _root(path: Path, entries: dict[str, zipfile.ZipInfo]) -> str:
    roots = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ModelFileError(f"{path} holds {len(roots)} data.pkl; a file of torch.save holds one")
    return roots[0]


def _unpickle(
    path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo
) -> dict[str, StorageView]:
    if entry.file_size > MAX_PICKLE_BYTES or entry.compress_type != zipfile.ZIP_STORED:
        raise ModelFileError(
            f"{path}: its data.pkl is compressed or larger than {MAX_PICKLE_BYTES} bytes; "
            "torch.save writes no such file"
        )
    try:
        state = _TensorUnpickler(path, archive.read(entry)).load()
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise ModelFileError(f"{path}: its data.pkl is damaged: {error}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise ModelFileError(
            f"{path} holds a {type(state).__name__}; a dict of tensors is expected"
        )
    return {name: view for name, view in state.items() if isinstance(view, StorageView)}


class _TensorUnpickler(pickle.Unpickler):
    """Finds only the constructors of tensors; each is replaced by a record of its arguments."""

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        constructors: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        if (module, name) not in constructors:
            raise ModelFileError(
                f"{self.path} asks to run {module}.{name}; only tensors are read: "
                "do not trust this file, or save its state dict alone"
            )
        return constructors[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        kind, storage_type, key, _, elements = pid
        if kind != "storage" or not isinstance(storage_type, StorageType):
            raise ModelFileError(f"{self.path}: {str(kind)[:40]!r} is not a storage")
        if not isinstance(key, str) or not _is_size(elements):
            raise ModelFileError(f"{self.path}: a storage has no valid key or size")
        return Storage(storage_type.dtype, key, elements)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StorageView:
    sizes = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or not all(_is_size(size) for size in sizes):
        raise ValueError("a tensor has no valid storage, offset, shape or stride")
    return StorageView(storage, offset, tuple(shape), tuple(stride))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ELEMENTS


def _locate(
    path: Path, name: str, view: StorageView, entry: zipfile.ZipInfo | None
) -> StoredTensor:
    storage = view.storage
    itemsize = storage.dtype.itemsize
    if entry is None or entry.compress_type != zipfile.ZIP_STORED:
        raise ModelFileError(f"{path}: the storage of {name} is missing or compressed")
    if entry.file_size < storage.elements * itemsize:
        raise ModelFileError(f"{path}: the storage of {name} is shorter than its pickle says")
    if view.stride != _contiguous(view.shape):
        raise ModelFileError(f"{path}: {name} is not contiguous; save it again with safetensors")
    if view.offset + prod(view.shape) > storage.elements:
        raise ModelFileError(f"{path}: {name} reaches beyond its storage")
    start = _data_start(path, entry) + view.offset * itemsize
    return StoredTensor(path, start, storage.dtype, view.shape)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _data_start(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where an uncompressed entry's bytes begin: behind its local header, name and extra field."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(30)
    if len(header) < 30:
        raise ModelFileError(f"{path} is truncated; fetch it again")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start = entry.header_offset + 30 + name_length + extra_length
    if signature != b"PK\x03\x04" or start + entry.file_size > path.stat().st_size:
        raise ModelFileError(f"{path}: the entry {entry.filename} is damaged; fetch the file again")
    return int(start)
