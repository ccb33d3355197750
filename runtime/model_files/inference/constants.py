"""What is known of weights and constants."""

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.runtime.model_files.graph_nodes import signed
from gptneo_onnx.runtime.model_files.graph_tensors import ELEMENT_BITS, Tensor
from gptneo_onnx.runtime.model_files.inference.values import (
    BOOL,
    INT32,
    INT64,
    MAX_AXES,
    MAX_NUMBERS,
    Numbers,
    Value,
    value,
)

_BYTES = {INT32: 4, INT64: 8, BOOL: 1}


def tensor_value(tensor: Tensor) -> Value:
    """Return what is known of a weight or a constant, with its numbers if they decide sizes.

    Raises:
        ModelFileError: no tensor has such a type or shape.
    """
    dims = [signed(size) for size in tensor.dims]
    if tensor.element_type not in ELEMENT_BITS:
        raise ModelFileError(f"{shown(tensor.name)} is of a type that no weight has")
    if len(dims) > MAX_AXES or any(size < 0 for size in dims):
        raise ModelFileError(f"{shown(tensor.name)} has shape {shown(dims)}, which none can have")
    known = value(tensor.element_type, tuple(dims))
    if known.most > MAX_NUMBERS or tensor.element_type not in _BYTES:
        return known
    return value(tensor.element_type, tuple(dims), _numbers(tensor, known.most))


def _numbers(tensor: Tensor, count: int) -> Numbers | None:
    """Return a tensor's numbers; None if they lie in another file."""
    message, size = tensor.message, _BYTES[tensor.element_type]
    found: list[int] = []
    if "raw_data" in message:
        raw = message.view("raw_data")
        found = [
            int.from_bytes(raw[at : at + size], "little", signed=size > 1)
            for at in range(0, len(raw), size)
        ]
    elif "int64_data" in message:
        found = [signed(number) for number in message.integers("int64_data")]
    elif "int32_data" in message:
        found = _varints(message.view("int32_data"))
    if tensor.element_type == BOOL:
        found = [int(number != 0) for number in found]
    return tuple(found) if len(found) == count else None


def _varints(packed: memoryview) -> list[int]:
    """Read packed numbers, of which a parser keeps 32 bits."""
    numbers, number, shift = [], 0, 0
    for byte in packed[: 10 * MAX_NUMBERS]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            number &= 2**32 - 1
            numbers.append(number - 2**32 if number >= 2**31 else number)
            number = shift = 0
    return numbers
