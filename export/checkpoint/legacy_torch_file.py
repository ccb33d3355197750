"""Reads a pytorch_model.bin from before PyTorch 1.6, which is no zip.

It is five pickles one after the other (a number that identifies the format, its version, the
machine's byte order, the state dict, the keys of the storages), then each storage in the order of
the keys: the number of its elements in 8 bytes, and their bytes. See torch.serialization's
_legacy_save and _legacy_load.
"""

import io
from pathlib import Path
from typing import Any, BinaryIO

from gptneo_onnx.export.checkpoint.other_formats import refuse_quantized
from gptneo_onnx.export.checkpoint.storage_view import tensor_in
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.checkpoint.torch_pickle import (
    MAX_PICKLE_BYTES,
    Storage,
    read_value,
    tensors_of,
)
from gptneo_onnx.models.errors import ModelFileError, shown

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_VERSION = 1001


def is_legacy_file(path: Path) -> bool:
    """Return whether a file begins as torch.save wrote it before PyTorch 1.6."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC_PICKLE)) == _MAGIC_PICKLE


def read_legacy_file(path: Path) -> dict[str, StoredTensor]:
    """Return every tensor of the file by name, not yet read.

    Raises:
        ModelFileError: the file is damaged or big-endian; a tensor reaches beyond its storage or is
            not contiguous; or a pickle asks for anything but tensors.
    """
    try:
        with path.open("rb") as file:
            state, storages, keys = _read_pickles(path, file)
            views = tensors_of(path, state)
            refuse_quantized(path, views)
            starts = _storage_starts(path, file, keys, storages)
        return {
            name: tensor_in(path, name, view, starts[view.storage]) for name, view in views.items()
        }
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise ModelFileError(
            f"{path} is not whole, as torch.save wrote it before PyTorch 1.6 "
            f"({shown(error)}); fetch it again"
        ) from error


def _read_pickles(path: Path, file: BinaryIO) -> tuple[Any, dict[str, Storage], list[str]]:
    """Return the state dict, its storages, and their keys in order; leave the file after them."""
    content = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    if read_value(path, content)[0] != _MAGIC or read_value(path, content)[0] != _VERSION:
        raise ValueError("it is of another version")
    system, _ = read_value(path, content)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ModelFileError(
            f"{path} does not say that its numbers are little-endian; "
            "save it again with safetensors"
        )
    state, storages = read_value(path, content)
    keys, _ = read_value(path, content)
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise ValueError("the keys of its storages are no list of names")
    file.seek(content.tell())
    return state, storages, keys


def _storage_starts(
    path: Path, file: BinaryIO, keys: list[str], storages: dict[str, Storage]
) -> dict[Storage, int]:
    """Return where each storage's bytes begin."""
    size = path.stat().st_size
    starts: dict[Storage, int] = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(file.read(8), "little")
        if count != storage.elements:
            raise ValueError("a storage is not as long as its tensors say")
        starts[storage] = file.tell()
        end = starts[storage] + count * storage.dtype.itemsize
        if end > size:
            raise ValueError(f"it ends {end - size} bytes too early")
        file.seek(end)
    return starts
