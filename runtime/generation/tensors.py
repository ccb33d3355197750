"""PyTorch's tensors as arguments: processors and criteria compute with arrays, and give them back.

torch is never imported here: a caller that has tensors has imported it.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError

Call = TypeVar("Call", bound=Callable[..., Any])

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a torch.Tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_array(value: Any) -> Any:
    """Return a tensor as an array that shares its memory where it can; other values as they are."""
    if not is_tensor(value):
        return value
    tensor = value.detach().cpu()
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4:
        tensor = tensor.float()  # NumPy has no bfloat16
    return tensor.numpy()


def ids_array(value: Any) -> Any:
    """Return token ids as an int64 array; None, which many processors take, as it is.

    Raises:
        InputError: they are no array of whole numbers.
    """
    if value is None:
        return None
    array = _array("input_ids", value)
    if array.size and array.dtype.kind not in "iub":
        raise InputError(f"input_ids is of {array.dtype}; token ids [batch, length] are allowed")
    return array.astype(np.int64, copy=False)


def scores_array(value: Any) -> NDArray[Any]:
    """Return scores as an array of float32, or of float64 if they are.

    Raises:
        InputError: they are no array of numbers.
    """
    array = _array("scores", value)
    if array.dtype in _FLOATS and isinstance(as_array(value), np.ndarray):
        return array
    if array.dtype.kind not in "fiub":
        raise InputError(f"scores is of {array.dtype}; numbers [batch, vocab] are allowed")
    return array.astype(np.float32)


def tensor_like(array: NDArray[Any], example: Any) -> Any:
    """Return an array as a new tensor on the device of another, and of its type if of floats."""
    torch = sys.modules["torch"]
    tensor = torch.from_numpy(np.array(array)).to(example.device)
    is_float = tensor.dtype.is_floating_point and example.dtype.is_floating_point
    return tensor.to(example.dtype) if is_float else tensor


def takes_scores(call: Call) -> Call:
    """Let a processor's __call__ take lists and tensors too; tensors of scores give tensors."""

    @wraps(call)
    def converted(self: Any, input_ids: Any, scores: Any, *more: Any, **named: Any) -> Any:
        if type(scores) is np.ndarray and scores.dtype in _FLOATS and _is_ids(input_ids):
            # No rows, or no tokens: there is nothing to process.
            return call(self, input_ids, scores, *more, **named) if scores.size else scores
        arrays = [as_array(each) for each in more]
        by_name = {name: as_array(each) for name, each in named.items()}
        ids, result = ids_array(input_ids), scores_array(scores)
        if result.size:
            result = call(self, ids, result, *arrays, **by_name)
        return tensor_like(result, scores) if is_tensor(scores) else result

    return converted  # type: ignore[return-value]


def takes_ids(call: Call) -> Call:
    """Let a method whose first argument is token ids take lists and tensors too."""

    @wraps(call)
    def converted(self: Any, input_ids: Any, *more: Any, **named: Any) -> Any:
        if _is_ids(input_ids):
            return call(self, input_ids, *more, **named)
        result = call(self, ids_array(input_ids), *more, **named)
        is_array = isinstance(result, np.ndarray)
        return tensor_like(result, input_ids) if is_array and is_tensor(input_ids) else result

    return converted  # type: ignore[return-value]


def _is_ids(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype == np.int64


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        return np.asarray(as_array(value))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be made an array: its rows differ in length") from error
