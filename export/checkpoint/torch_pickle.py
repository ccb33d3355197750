"""Reads the pickles of a pytorch_model.bin, and runs nothing that they ask to run.

This is an interpreter of the opcodes that torch.save writes for dicts of tensors, like PyTorch's
torch._weights_only_unpickler. pickle.Unpickler will not do, even with find_class overridden: ten
bytes make it allocate 64 GB (an index into its memo), and BUILD sets attributes of anything that
can be named.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from gptneo_onnx.models.errors import ModelFileError, shown

# GPT-Neo's longest pickle has 60 kB; Python may need 70 bytes of memory for each byte of one.
MAX_PICKLE_BYTES = 1024 * 1024
MAX_ELEMENTS = 2**40
MAX_DIMENSIONS = 8
# Under what training scripts keep a state dict, beside an optimizer's and other things.
_WRAPPING_KEYS = ("state_dict", "model_state_dict", "model", "module")


@dataclass(frozen=True)
class StorageType:
    """Stands for a torch.*Storage class: the type of its elements."""

    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Storage:
    """One storage of the archive, which is not read yet."""

    dtype: np.dtype[Any]
    key: str
    elements: int


@dataclass(frozen=True)
class StorageView:
    """A tensor within a storage, in elements, as torch._utils._rebuild_tensor_v2 takes it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_tensor_pickle(path: Path, content: bytes) -> dict[str, StorageView]:
    """Return the tensors of a pickled state dict by name; `path` is for messages.

    Raises:
        ModelFileError: the pickle is damaged, or asks for anything but tensors.
    """
    try:
        state = _Interpreter(path).run(content)
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise ModelFileError(
            f"{path}: its data.pkl is damaged ({shown(error)}); fetch it again"
        ) from error
    return tensors_of(path, state)


def read_value(path: Path, file: BinaryIO) -> tuple[Any, dict[str, Storage]]:
    """Return the value of the pickle that the file goes on with, and the storages that it names.

    The file is left after the pickle.

    Raises:
        ModelFileError: the pickle asks for anything but tensors.
        Exception: it is damaged.
    """
    interpreter = _Interpreter(path)
    return interpreter.run(file), interpreter.storages


def tensors_of(path: Path, state: Any) -> dict[str, StorageView]:
    """Return the tensors of a state dict that was read, or of one that a training script wrapped.

    Raises:
        ModelFileError: it is no dict.
    """
    if not isinstance(state, dict):
        raise ModelFileError(
            f"{path} holds a {type(state).__name__}; a dict of tensors is expected: "
            "save the model's state dict"
        )
    inner = (state.get(key) for key in _WRAPPING_KEYS)
    candidates = (_only_tensors(each) for each in inner if isinstance(each, dict))
    return _only_tensors(state) or next((found for found in candidates if found), {})


def _only_tensors(state: Mapping[Any, Any]) -> dict[str, StorageView]:
    return {
        name: view
        for name, view in state.items()
        if isinstance(name, str) and isinstance(view, StorageView)
    }


class _Interpreter:
    """Pickle's stack machine; a method for each opcode takes the opcode's argument."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, content: bytes | BinaryIO) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            operation = _OPERATIONS.get(opcode.name)
            if operation is None:
                raise ModelFileError(
                    f"{self.path}: its data.pkl has the opcode {opcode.name}, which torch.save "
                    "never writes; do not trust this file"
                )
            operation(self, argument)
        return self.stack.pop()

    def skip(self, argument: Any) -> None:
        """Do nothing for PROTO, FRAME and STOP, which genops handles."""

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, argument: Any) -> None:
        self.marks.append(len(self.stack))

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("the stack is too short")
        return self.pop_from(len(self.stack) - count)

    def pop_from(self, start: int) -> list[Any]:
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, argument: Any) -> None:
        self.put(len(self.memo))

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def marked_tuple(self, argument: Any) -> None:
        self.push(tuple(self.pop_from(self.marks.pop())))

    def append(self, argument: Any) -> None:
        self.extend_list(self.pop(1))

    def appends(self, argument: Any) -> None:
        self.extend_list(self.pop_from(self.marks.pop()))

    def extend_list(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("only lists are appended to")
        self.stack[-1].extend(values)

    def set_item(self, argument: Any) -> None:
        self.update_dict(self.pop(2))

    def set_items(self, argument: Any) -> None:
        self.update_dict(self.pop_from(self.marks.pop()))

    def update_dict(self, items: list[Any]) -> None:
        keys = items[::2]
        # Tuples as keys may take exponential time to hash: each may hold the one before it twice.
        if type(self.stack[-1]) is not dict or any(type(key) not in (str, int) for key in keys):
            raise ValueError("only dicts are updated, and their keys are names or numbers")
        self.stack[-1].update(zip(keys, items[1::2], strict=True))

    def build(self, argument: Any) -> None:
        """Drop attributes, such as a state dict's _metadata; none is needed."""
        self.pop(1)

    def find(self, name: str) -> None:
        if name not in _CONSTRUCTORS:
            raise ModelFileError(
                f"{self.path} asks to run {shown(name.replace(' ', '.'))}; only tensors are read: "
                "do not trust this file, or save its state dict alone"
            )
        self.push(_CONSTRUCTORS[name])

    def find_on_stack(self, argument: Any) -> None:
        module, name = self.pop(2)
        self.find(f"{module} {name}" if type(module) is type(name) is str else "")

    def construct(self, argument: Any) -> None:
        constructor, arguments = self.pop(2)
        if constructor not in (_empty_dict, _rebuild_tensor, _rebuild_parameter):
            raise ValueError("only tensors and dicts are constructed")
        self.push(constructor(*arguments))

    def find_storage(self, argument: Any) -> None:
        (identity,) = self.pop(1)
        kind, storage_type, key, _, elements, *view = identity
        if view not in ([], [None]):  # files from before PyTorch 1.6 say None
            raise ValueError("a storage is a view of another")
        if kind != "storage" or not isinstance(storage_type, StorageType):
            raise ValueError("a persistent id is not of a storage")
        if not isinstance(key, str) or not _is_size(elements):
            raise ValueError("a storage has no valid key or size")
        storage = Storage(storage_type.dtype, key, elements)
        self.storages[key] = storage
        self.push(storage)


def _empty_dict() -> dict[Any, Any]:
    return {}


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, metadata: Any = None
) -> StorageView:
    if not isinstance(storage, Storage) or not _is_size(offset):
        raise ValueError("a tensor has no valid storage or offset")
    if not _are_sizes(shape) or not _are_sizes(stride) or len(shape) != len(stride):
        raise ValueError("a tensor has no valid shape or stride")
    return StorageView(storage, offset, shape, stride)


def _rebuild_parameter(data: Any, grad: Any, hooks: Any) -> Any:
    return data


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ELEMENTS


def _are_sizes(values: Any) -> bool:
    is_short_tuple = type(values) is tuple and len(values) <= MAX_DIMENSIONS
    return is_short_tuple and all(_is_size(value) for value in values)


_CONSTRUCTORS: dict[str, Any] = {
    "collections OrderedDict": _empty_dict,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch DoubleStorage": StorageType(np.dtype(np.float64)),
    "torch FloatStorage": StorageType(np.dtype(np.float32)),
    "torch HalfStorage": StorageType(np.dtype(np.float16)),
    "torch BFloat16Storage": StorageType(np.dtype(ml_dtypes.bfloat16)),
    "torch LongStorage": StorageType(np.dtype(np.int64)),
    "torch IntStorage": StorageType(np.dtype(np.int32)),
    "torch ShortStorage": StorageType(np.dtype(np.int16)),
    "torch CharStorage": StorageType(np.dtype(np.int8)),
    "torch ByteStorage": StorageType(np.dtype(np.uint8)),
    "torch BoolStorage": StorageType(np.dtype(np.bool_)),
}

_OPERATIONS: dict[str, Callable[[_Interpreter, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _Interpreter.skip),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Interpreter.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE"), _Interpreter.push),
    "NONE": lambda self, _: self.push(None),
    "NEWTRUE": lambda self, _: self.push(True),
    "NEWFALSE": lambda self, _: self.push(False),
    "MARK": _Interpreter.mark,
    "EMPTY_TUPLE": lambda self, _: self.push(()),
    "TUPLE1": lambda self, _: self.push(tuple(self.pop(1))),
    "TUPLE2": lambda self, _: self.push(tuple(self.pop(2))),
    "TUPLE3": lambda self, _: self.push(tuple(self.pop(3))),
    "TUPLE": _Interpreter.marked_tuple,
    "EMPTY_LIST": lambda self, _: self.push([]),
    "APPEND": _Interpreter.append,
    "APPENDS": _Interpreter.appends,
    "EMPTY_DICT": lambda self, _: self.push({}),
    "SETITEM": _Interpreter.set_item,
    "SETITEMS": _Interpreter.set_items,
    "BUILD": _Interpreter.build,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Interpreter.put),
    "MEMOIZE": _Interpreter.memoize,
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Interpreter.get),
    "GLOBAL": _Interpreter.find,
    "STACK_GLOBAL": _Interpreter.find_on_stack,
    "REDUCE": _Interpreter.construct,
    "BINPERSID": _Interpreter.find_storage,
}
