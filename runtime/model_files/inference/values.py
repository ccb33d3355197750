"""What is known of an operator's result: its type, its axes and, if they are few, its numbers."""

from dataclasses import dataclass, replace

from gptneo_onnx.runtime.model_files.graph_tensors import ELEMENT_BITS
from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.sizes import Number

# Numbers in onnx.TensorProto.DataType.
FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 3, 6, 7, 9, 10, 11, 16
UNKNOWN_TYPE = 0
FLOATS = (FLOAT, FLOAT16, DOUBLE, BFLOAT16)
# The types that sizes are computed in, with the least and the greatest number of each.
_RANGES = {INT32: (-(2**31), 2**31 - 1), INT64: sizes.INT64, BOOL: (0, 1)}
# Results with more elements are not followed number by number: no shape has as many axes.
MAX_NUMBERS = 32
# No tensor of a GPT-Neo has as many axes.
MAX_AXES = 8

Numbers = tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor.

    Attributes:
        element_type: its number in onnx.TensorProto.DataType; UNKNOWN_TYPE if it is not known.
        dims: the sizes of its axes; None if they are not known.
        most: the most elements that it can have; at most the product of the axes' greatest sizes.
        numbers: its elements, if they are few whole numbers that are known or have bounds.
        constant: whether it depends on weights and constants alone: ONNX Runtime computes it when
            it loads the graph.
    """

    element_type: int
    dims: Numbers | None
    most: int
    numbers: Numbers | None = None
    constant: bool = False

    @property
    def bytes(self) -> int:
        """The most bytes that it can have."""
        return (self.most * ELEMENT_BITS.get(self.element_type, 64) + 7) // 8

    @property
    def rank(self) -> int:
        return 0 if self.dims is None else len(self.dims)


UNKNOWN = Value(UNKNOWN_TYPE, None, 0)


def value(
    element_type: int, dims: Numbers, numbers: Numbers | None = None, most: int | None = None
) -> Value:
    """Return a value of these axes.

    Args:
        element_type: its number in onnx.TensorProto.DataType.
        dims: the sizes of its axes.
        numbers: its elements; they are forgotten where they are too many, or do not fit the type.
        most: an upper bound of its elements that is not the axes' product.
    """
    product = 1
    for size in dims:
        product *= max(0, sizes.most(size))
    least, greatest = _RANGES.get(element_type, (0, -1))
    if numbers is not None and (
        len(numbers) > MAX_NUMBERS
        or any(sizes.least(each) < least or sizes.most(each) > greatest for each in numbers)
    ):
        numbers = None
    return Value(element_type, dims, product if most is None else min(product, most), numbers)


def broadcast(*shapes: Numbers) -> Numbers:
    """Return the axes that values of these axes have together."""
    longest = max(map(len, shapes), default=0)
    result: list[Number] = [1] * longest
    for shape in shapes:
        for place, size in enumerate(shape, longest - len(shape)):
            result[place] = _together(result[place], size)
    return tuple(result)


def _together(left: Number, right: Number) -> Number:
    """Return the size of an axis that one of two values may have once instead."""
    if left == right or right == 1:
        return left
    if left == 1:
        return right
    for one in (left, right):
        if isinstance(one, int) and one > 1:
            return one  # the other has this size, or 1
    return sizes.either(left, right)


def joined(one: Value, other: Value) -> Value:
    """Return what is known of a value that is one of these two."""
    if one == other:
        return one
    if one.dims is None or other.dims is None or one.rank != other.rank:
        return UNKNOWN
    dims = tuple(map(sizes.either, one.dims, other.dims))
    numbers = None
    if one.numbers is not None and other.numbers is not None and one.dims == other.dims:
        numbers = tuple(map(sizes.either, one.numbers, other.numbers))
    element_type = one.element_type if one.element_type == other.element_type else UNKNOWN_TYPE
    result = value(element_type, dims, numbers, max(one.most, other.most))
    return replace(result, constant=True) if one.constant and other.constant else result
