"""Writes pytorch_model.bin as torch.save does, for tests that run without PyTorch.

save_torch() writes a whole file. Its parts (values that pickle to chosen opcodes, and the zip
around them) also build damaged and malicious files, which torch.save would never write.
"""

import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
OTHER_ENTRIES = {".format_version": b"1", "byteorder": b"little", "version": b"3\n"}


@dataclass(frozen=True)
class Global:
    """A class or function that a pickle names, module.name (GLOBAL)."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A value that a pickle makes by calling a function (REDUCE)."""

    function: Any
    arguments: Any


@dataclass(frozen=True)
class Persistent:
    """A value that a pickle leaves to its reader to look up by an identity (BINPERSID)."""

    identity: Any


@dataclass(frozen=True)
class Built:
    """A mapping that a pickle makes, fills with items, then gives a state (SETITEMS, BUILD)."""

    made: Any
    items: Mapping[Any, Any]
    state: Any


ORDERED_DICT = Global("collections", "OrderedDict")
REBUILD_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")


def save_torch(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write a state dict; an array under two names is stored once, as tied weights are."""
    keys: dict[int, str] = {}
    storages: dict[str, bytes] = {}
    for array in tensors.values():
        if id(array) not in keys:
            keys[id(array)] = key = str(len(keys))
            storages[key] = array.tobytes()
    pickled = {
        name: tensor(array.dtype.name, keys[id(array)], array.size, array.shape)
        for name, array in tensors.items()
    }
    write_archive(path, dumps(state_dict(pickled)), storages)


def state_dict(tensors: Mapping[str, Any]) -> Built:
    """Return nn.Module.state_dict()'s OrderedDict, which has an attribute for module versions."""
    version = Built(Call(ORDERED_DICT, ()), {"": {"version": 1}}, None)
    return Built(Call(ORDERED_DICT, ()), tensors, {"_metadata": version})


def tensor(
    dtype: str,
    key: Any,
    elements: Any,
    shape: Any,
    *,
    offset: Any = 0,
    stride: Any = None,
) -> Call:
    """Return a tensor over the storage of that key; row-major by default."""
    if stride is None:
        stride = contiguous(shape)
    storage = Persistent(("storage", Global("torch", STORAGES[dtype]), key, "cpu", elements))
    hooks = Call(ORDERED_DICT, ())
    return Call(REBUILD_TENSOR, (storage, offset, tuple(shape), tuple(stride), False, hooks))


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a row-major tensor, in elements."""
    strides = np.cumprod([1, *reversed(shape)], dtype=object)[:-1]
    return tuple(int(stride) for stride in reversed(strides))


def write_archive(
    path: Path,
    content: bytes,
    storages: Mapping[str, bytes],
    *,
    others: Mapping[str, bytes] = OTHER_ENTRIES,
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """Write the zip: data.pkl and data/KEY, each at a multiple of ALIGNMENT bytes."""
    entries = {"data.pkl": content, **others}
    entries |= {f"data/{key}": value for key, value in storages.items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in entries.items():
            entry = zipfile.ZipInfo(f"{path.stem}/{name}")
            entry.compress_type = compression
            start = archive.fp.tell() + 30 + len(entry.filename) + 4
            padding = -start % ALIGNMENT
            entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(entry, value)
            entry.extra = b""  # PyTorch pads the local header only


def dumps(value: Any) -> bytes:
    """Pickle a value in protocol 2, memoized as the standard library does."""
    writer = _Writer()
    writer.write(value)
    return bytes(writer.content + pickle.STOP)


class _Writer:
    def __init__(self) -> None:
        self.content = bytearray(pickle.PROTO + b"\x02")
        self.memo: dict[Any, int] = {}
        self.memoized = 0

    def write(self, value: Any) -> None:
        if value is None or type(value) is bool:
            names = {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}
            self.content += names[value]
        elif isinstance(value, int):
            self.number(value)
        elif isinstance(value, str):
            encoded = value.encode()
            self.once(value, pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded)
        elif isinstance(value, Global):
            self.once(value, pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, tuple):
            self.tuple(value)
        elif isinstance(value, Call):
            self.write(value.function)
            self.write(value.arguments)
            self.content += pickle.REDUCE
            self.put()
        elif isinstance(value, Persistent):
            self.write(value.identity)
            self.content += pickle.BINPERSID
        elif isinstance(value, dict):
            self.content += pickle.EMPTY_DICT
            self.put()
            self.items(value)
        else:
            self.built(value)

    def built(self, value: Built) -> None:
        self.write(value.made)
        self.items(value.items)
        if value.state is not None:
            self.write(value.state)
            self.content += pickle.BUILD

    def items(self, items: Mapping[Any, Any]) -> None:
        pairs = [part for pair in items.items() for part in pair]
        if len(items) == 1:
            self.all(pairs, before=b"", after=pickle.SETITEM)
        elif items:
            self.all(pairs, before=pickle.MARK, after=pickle.SETITEMS)

    def tuple(self, value: tuple[Any, ...]) -> None:
        if not value:
            self.content += pickle.EMPTY_TUPLE
            return
        short = {1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}
        before = b"" if len(value) in short else pickle.MARK
        self.all(value, before, short.get(len(value), pickle.TUPLE))
        self.put()

    def all(self, values: Sequence[Any], before: bytes, after: bytes) -> None:
        self.content += before
        for value in values:
            self.write(value)
        self.content += after

    def number(self, value: int) -> None:
        if 0 <= value < 2**8:
            self.content += pickle.BININT1 + struct.pack("<B", value)
        elif 0 <= value < 2**16:
            self.content += pickle.BININT2 + struct.pack("<H", value)
        elif -(2**31) <= value < 2**31:
            self.content += pickle.BININT + struct.pack("<i", value)
        else:
            encoded = pickle.encode_long(value)
            self.content += pickle.LONG1 + struct.pack("<B", len(encoded)) + encoded

    def once(self, value: Any, content: bytes) -> None:
        """Write the content the first time, later a reference to it."""
        if value in self.memo:
            self.reference(pickle.BINGET, pickle.LONG_BINGET, self.memo[value])
        else:
            self.memo[value] = self.memoized
            self.content += content
            self.put()

    def put(self) -> None:
        self.reference(pickle.BINPUT, pickle.LONG_BINPUT, self.memoized)
        self.memoized += 1

    def reference(self, short: bytes, long: bytes, index: int) -> None:
        self.content += short + struct.pack("<B", index) if index < 2**8 else b""
        self.content += long + struct.pack("<I", index) if index >= 2**8 else b""
