"""Rules of operators that compute each element alone, with axes that are broadcast together.

Each rule returns what is known of the outputs. Operators:
https://onnx.ai/onnx/operators and
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from collections.abc import Callable

from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.call import Call, Unfollowed
from gptneo_onnx.runtime.model_files.inference.sizes import Number
from gptneo_onnx.runtime.model_files.inference.values import (
    BOOL,
    FLOATS,
    INT32,
    INT64,
    MAX_NUMBERS,
    Numbers,
    Value,
    broadcast,
    value,
)

Values = tuple[Value, ...]
_Together = Callable[[Number, Number], Number]
_UNSURE = sizes.between(0, 1)


def _equal(left: Number, right: Number) -> Number:
    if left == right:
        return 1
    apart = sizes.highest(left) < sizes.lowest(right) or sizes.highest(right) < sizes.lowest(left)
    return 0 if apart else _UNSURE


def _less(left: Number, right: Number) -> Number:
    if sizes.highest(left) < sizes.lowest(right):
        return 1
    return 0 if sizes.lowest(left) >= sizes.highest(right) else _UNSURE


def _not(number: Number) -> Number:
    return sizes.subtract(1, number) if isinstance(number, int) else _UNSURE


_NUMBERS: dict[str, _Together] = {
    "Add": sizes.add,
    "Sub": sizes.subtract,
    "Mul": sizes.multiply,
    "Div": sizes.divide,
    "Mod": sizes.remainder,
    "Min": sizes.smaller,
    "Max": sizes.larger,
    "And": sizes.smaller,
    "Or": sizes.larger,
    "Equal": _equal,
    "Less": _less,
    "Greater": lambda left, right: _less(right, left),
    "GreaterOrEqual": lambda left, right: _not(_less(left, right)),
    "LessOrEqual": lambda left, right: _not(_less(right, left)),
}
_COMPARISONS = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"}
_SAME_NUMBERS = {"Identity", "Dropout", "Sum", "Mean"}


def elementwise(call: Call) -> Values:
    """Broadcast all inputs; numbers are followed through what sizes are computed with."""
    given = [*call.given()]
    dims = broadcast(*(call.dims(place) for place in _places(call)))
    element_type = BOOL if call.operator in _COMPARISONS else given[0].element_type
    numbers = None
    together = _NUMBERS.get(call.operator)
    if together is not None and all(each.numbers is not None for each in given):
        numbers = given[0].numbers
        for other in given[1:]:
            numbers = _pairs(together, numbers, other.numbers, dims)
    elif len(given) == 1 and call.operator in _SAME_NUMBERS:
        numbers = given[0].numbers
    return (value(element_type, dims, numbers, _most(call)),)


def _places(call: Call) -> list[int]:
    return [place for place, each in enumerate(call.inputs) if each is not None]


def _most(call: Call) -> int | None:
    """Return the most elements of a single input, which the result has too."""
    places = _places(call)
    return call.input(places[0]).most if len(places) == 1 else None


def _pairs(
    together: _Together, left: Numbers | None, right: Numbers | None, dims: Numbers
) -> Numbers | None:
    """Compute with two lists of numbers, one of which may be a single number."""
    if left is None or right is None or len(dims) > 1:
        return None
    count = max(len(left), len(right))
    if min(len(left), len(right)) not in (1, count):
        return None
    return tuple(together(left[at % len(left)], right[at % len(right)]) for at in range(count))


def integer_division(call: Call) -> Values:
    """Refuse a divisor that may be 0 or -1, as processors end the process for those."""
    if len(call.inputs) != 2:
        raise call.wrong(f"divides {len(call.inputs)} inputs")
    if call.input(0).element_type in FLOATS and call.input(1).element_type in FLOATS:
        return elementwise(call)
    divisors = call.numbers(1)
    if divisors is None or any(_may_be(0, each) or _may_be(-1, each) for each in divisors):
        shown = "computed" if divisors is None else _shown(divisors)
        raise call.wrong(
            f"divides whole numbers by numbers that are {shown}, and 0 and -1 end the process; "
            "only what is sure to be neither is divided by"
        )
    return elementwise(call)


def _may_be(one: int, number: Number) -> bool:
    return sizes.lowest(number) <= one <= sizes.highest(number)


def _shown(numbers: Numbers) -> str:
    first = numbers[0]
    if len(numbers) == 1 and isinstance(first, int):
        return str(first)
    low, high = min(map(sizes.least, numbers)), max(map(sizes.most, numbers))
    return f"from {low} to {high}"


def where(call: Call) -> Values:
    condition, yes, no = (call.input(place) for place in range(3))
    dims = broadcast(call.dims(0), call.dims(1), call.dims(2))
    numbers = None
    if condition.numbers and yes.numbers and no.numbers and len(dims) <= 1:
        count = max(len(condition.numbers), len(yes.numbers), len(no.numbers))
        numbers = tuple(
            _chosen(
                *(each[at % len(each)] for each in (condition.numbers, yes.numbers, no.numbers))
            )
            for at in range(count)
        )
    return (value(yes.element_type, dims, numbers),)


def _chosen(condition: Number, yes: Number, no: Number) -> Number:
    if isinstance(condition, int):
        return yes if condition else no
    return sizes.either(yes, no)


def inverse(call: Call) -> Values:
    """Not and Neg."""
    given = call.input(0)
    change = _not if call.operator == "Not" else sizes.negative
    numbers = None if given.numbers is None else tuple(map(change, given.numbers))
    return (value(given.element_type, call.dims(0), numbers, given.most),)


def cast(call: Call) -> Values:
    """Numbers that do not fit the new type are forgotten."""
    given = call.input(0)
    to = call.integer("to", 0) if call.operator == "Cast" else call.input(1).element_type
    numbers = given.numbers
    if numbers is not None and to == BOOL:
        numbers = tuple(_not(_equal(number, 0)) for number in numbers)
    elif to not in (INT32, INT64):
        numbers = None
    return (value(to, call.dims(0), numbers, given.most),)


def same(call: Call) -> Values:
    """The first output is like the first input, whatever the others are."""
    given = call.input(0)
    first = value(given.element_type, call.dims(0), None, given.most)
    mask = value(BOOL, call.dims(0), None, given.most)
    return first, *[mask] * (call.outputs - 1)


def is_true(call: Call) -> Values:
    """One of IsNaN and IsInf."""
    return (value(BOOL, call.dims(0), None, call.input(0).most),)


def normalization(call: Call) -> Values:
    """LayerNormalization and its kin: the result, then statistics of rows, then a sum."""
    given = call.input(0)
    first = value(given.element_type, call.dims(0), None, given.most)
    dims = call.dims(0)
    axis = call.axis(len(dims), -1)
    if any(sizes.least(each) < 1 for each in dims[axis:]):
        raise call.wrong("normalizes rows that may be empty")
    rows = value(1, (*dims[:axis], *[1] * (len(dims) - axis)))
    return (first, rows, rows, first)[: call.outputs]


def embed_layer_normalization(call: Call) -> Values:
    ids, words = call.dims(0), call.input(2)
    hidden = call.dims(2)[-1]
    rows = value(words.element_type, (*ids, hidden))
    return (rows, value(INT32, ids[:1]), rows)[: call.outputs]


def range_of(call: Call) -> Values:
    """Range, of whole numbers that are known."""
    element_type = call.input(0).element_type
    ends = [call.numbers(place) for place in range(3)]
    if any(numbers is None or len(numbers) != 1 for numbers in ends):
        raise Unfollowed
    start, limit, step = (numbers[0] for numbers in ends if numbers is not None)
    length = sizes.subtract(limit, start)
    if sizes.least(step) < 0 and sizes.most(step) < 0:
        length, step = sizes.negative(length), sizes.negative(step)
    if sizes.least(step) <= 0:
        raise Unfollowed
    if step != 1:
        length = sizes.divide(sizes.add(length, sizes.subtract(step, 1)), step)
    if sizes.least(length) < 0:
        length = sizes.larger(length, 0)
    numbers = None
    if isinstance(length, int) and length <= MAX_NUMBERS:
        signed = step if sizes.least(ends[2][0]) > 0 else sizes.negative(step)  # type: ignore[index]
        numbers = tuple(sizes.add(start, sizes.multiply(signed, at)) for at in range(length))
    return (value(element_type, (length,), numbers),)
