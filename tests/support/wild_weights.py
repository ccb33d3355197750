"""Writes weights as other tools do: Flax, PyTorch before 1.6, safetensors' save_model.

Each writer takes a state dict of arrays under PyTorch's names, and needs none of these tools.
"""

import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import Shape
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch_archive import (
    ORDERED_DICT,
    REBUILD_TENSOR,
    STORAGES,
    Call,
    Global,
    Persistent,
    contiguous,
    dumps,
    state_dict,
)

SMALL = Shape(vocab_size=61, hidden_size=16, num_heads=2, max_position_embeddings=16)
MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {
    "protocol_version": 1001,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
SAFETENSORS_TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "uint8": "U8",
    "bool": "BOOL",
}
Arrays = Mapping[str, NDArray[Any]]


def write_directory(
    directory: Path, save: Any, file_name: str, tensors: Arrays, **config: Any
) -> Path:
    """Write SMALL's config.json, and the tensors by `save` into a file beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(SMALL.config | config))
    save(directory / file_name, tensors)
    return directory


def save_safetensors(path: Path, tensors: Arrays, metadata: Any = None) -> None:
    save_file(dict(tensors), path, {"format": "pt"} if metadata is None else metadata)


def save_any_safetensors(path: Path, tensors: Arrays) -> None:
    """Write a .safetensors file of any of its types; the package's numpy has no bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": SAFETENSORS_TYPES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": [start, end],
        }
    content = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in tensors.values())
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)


def save_shared(path: Path, tensors: Arrays) -> None:
    """Write as safetensors.torch.save_model does a tied head: once, under the head's name."""
    kept = dict(tensors)
    kept["lm_head.weight"] = kept.pop("transformer.wte.weight")
    save_file(kept, path, {"format": "pt", "transformer.wte.weight": "lm_head.weight"})


def legacy_parts(tensors: Arrays, system: Any = None) -> list[bytes]:
    """Return the pickles of torch.save before 1.6, then each storage's count and bytes."""
    pickled, storages = {}, []
    for key, (name, array) in enumerate(tensors.items()):
        storage_type = Global("torch", STORAGES[array.dtype.name])
        storage = Persistent(("storage", storage_type, str(key), "cpu", array.size, None))
        view = (storage, 0, array.shape, contiguous(array.shape), False, Call(ORDERED_DICT, ()))
        pickled[name] = Call(REBUILD_TENSOR, view)
        storages += [struct.pack("<q", array.size), array.tobytes()]
    keys = [str(key) for key in range(len(tensors))]
    head = (MAGIC, 1001, SYSTEM if system is None else system)
    parts = [pickle.dumps(value, protocol=2) for value in head]
    return [*parts, dumps(state_dict(pickled)), pickle.dumps(keys, protocol=2), *storages]


def save_legacy(path: Path, tensors: Arrays) -> None:
    path.write_bytes(b"".join(legacy_parts(tensors)))


def flax_tree(tensors: Arrays) -> dict[str, Any]:
    """Return the arrays as Flax nests, names and lays them out."""
    tree: dict[str, Any] = {}
    for name, array in tensors.items():
        *path, kind = name.split(".")
        if kind == "weight" and path[-1] in ("wte", "wpe"):
            kind = "embedding"
        elif kind == "weight" and array.ndim == 1:
            kind = "scale"
        elif kind == "weight":
            kind, array = "kernel", np.ascontiguousarray(array.T)
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[kind] = array
    return tree


def save_flax(path: Path, tensors: Arrays, chunk_bytes: int = 2**30) -> None:
    path.write_bytes(packed(flax_tree(tensors), chunk_bytes))


def packed(value: Any, chunk_bytes: int = 2**30) -> bytes:
    """Return a tree in MessagePack, as flax.serialization.msgpack_serialize packs it."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xce" + struct.pack(">I", value) if value > 127 else bytes([value])
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value.encode())]) + value.encode()
    if isinstance(value, dict):
        items = b"".join(packed(k) + packed(v, chunk_bytes) for k, v in value.items())
        return b"\xde" + struct.pack(">H", len(value)) + items
    if isinstance(value, tuple):
        return bytes([0x90 + len(value)]) + b"".join(map(packed, value))
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if value.nbytes > chunk_bytes:
        return packed(_chunked(value, chunk_bytes))
    content = packed((value.shape, value.dtype.name, value.tobytes()))
    return b"\xc9" + struct.pack(">I", len(content)) + b"\x01" + content


def _chunked(array: NDArray[Any], chunk_bytes: int) -> dict[str, Any]:
    size = max(1, chunk_bytes // array.itemsize)
    pieces = [array.reshape(-1)[start : start + size] for start in range(0, array.size, size)]
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(axis): length for axis, length in enumerate(array.shape)},
        "chunks": {str(index): piece for index, piece in enumerate(pieces)},
    }
