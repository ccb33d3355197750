"""Rules of operators that compute shapes, or give a tensor another one.

Operators: https://onnx.ai/onnx/operators
"""

from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.call import Call, Unfollowed
from gptneo_onnx.runtime.model_files.inference.constants import tensor_value
from gptneo_onnx.runtime.model_files.inference.sizes import Number
from gptneo_onnx.runtime.model_files.inference.values import (
    FLOAT,
    INT64,
    MAX_NUMBERS,
    Numbers,
    Value,
    broadcast,
    value,
)

Values = tuple[Value, ...]


def constant(call: Call) -> Values:
    attributes = call.attributes
    if "value" in attributes and attributes["value"].tensor is not None:
        return (tensor_value(attributes["value"].tensor),)
    if "value_int" in attributes:
        return (value(INT64, (), (attributes["value_int"].integer,)),)
    if "value_ints" in attributes:
        numbers = tuple(attributes["value_ints"].integers)
        return (value(INT64, (len(numbers),), numbers),)
    if "value_float" in attributes:
        return (value(FLOAT, ()),)
    if "value_floats" in attributes:
        return (value(FLOAT, (attributes["value_floats"].float_count,)),)
    raise call.wrong("has no tensor and no number")


def shape(call: Call) -> Values:
    dims = call.dims(0)
    rank = len(dims)
    start, end = (
        min(max(at + rank if at < 0 else at, 0), rank)
        for at in (call.integer("start", 0), call.integer("end", rank))
    )
    part = dims[start:end]
    return (value(INT64, (len(part),), part),)


def size(call: Call) -> Values:
    return (value(INT64, (), (sizes.product(call.dims(0)),)),)


def reshape(call: Call) -> Values:
    given, wanted = call.input(0), call.numbers(1)
    if wanted is None:
        wanted = _any_shape(call)
    dims = call.dims(0)
    result: list[Number] = []
    left_over = None
    for place, number in enumerate(wanted):
        if number == -1:
            left_over = place
            result.append(1)
        elif number == 0 and call.integer("allowzero", 0) != 1 and place < len(dims):
            result.append(dims[place])
        elif sizes.least(number) < 1 and not isinstance(number, int):
            result.append(sizes.between(0, given.most))  # may be -1, or 0
        else:
            result.append(number)
    if left_over is not None:
        result[left_over] = _rest(sizes.product(dims), sizes.product((*result,)), given.most)
    return (value(given.element_type, (*result,), given.numbers, given.most),)


def _any_shape(call: Call) -> Numbers:
    """Return what a shape may be of which only the length is known."""
    lengths = call.dims(1)
    if len(lengths) != 1 or not isinstance(lengths[0], int) or lengths[0] > MAX_NUMBERS:
        raise Unfollowed
    return (sizes.Size(-1, sizes.INT64[1]),) * lengths[0]


def _rest(elements: Number, others: Number, most: int) -> Number:
    """Return the size of the axis that takes what the others leave."""
    exact = sizes.exact_quotient(elements, others)
    if exact is not None:
        return exact
    if isinstance(elements, int) and isinstance(others, int) and others > 0:
        return elements // others
    return sizes.between(0, most // max(1, sizes.least(others)))


def unsqueeze(call: Call) -> Values:
    given, dims = call.input(0), call.dims(0)
    listed = call.integers("axes")
    numbers = call.numbers(1) if listed is None else (*listed,)
    if numbers is None or not all(isinstance(each, int) for each in numbers):
        raise Unfollowed
    rank = len(dims) + len(numbers)
    places = {call.from_start(each, rank) for each in numbers if isinstance(each, int)}
    rest = iter(dims)
    result = tuple(1 if place in places else next(rest, 1) for place in range(rank))
    return (value(given.element_type, result, given.numbers, given.most),)


def squeeze(call: Call) -> Values:
    given, dims = call.input(0), call.dims(0)
    axes = call.axes(1, len(dims))
    if axes is None:
        if not all(isinstance(each, int) for each in dims):
            raise Unfollowed
        axes = [place for place, each in enumerate(dims) if each == 1]
    result = tuple(each for place, each in enumerate(dims) if place not in axes)
    return (value(given.element_type, result, given.numbers, given.most),)


def flatten(call: Call) -> Values:
    given, dims = call.input(0), call.dims(0)
    at = call.integer("axis", 1)
    at = at + len(dims) if at < 0 else at
    result = sizes.product(dims[:at]), sizes.product(dims[at:])
    return (value(given.element_type, result, given.numbers, given.most),)


def transpose(call: Call) -> Values:
    given, dims = call.input(0), call.dims(0)
    order = call.integers("perm") or [*reversed(range(len(dims)))]
    if sorted(order) != [*range(len(dims))]:
        raise call.wrong(f"orders the axes {order} of {len(dims)}")
    numbers = given.numbers if len(dims) < 2 else None
    return (value(given.element_type, tuple(dims[at] for at in order), numbers, given.most),)


def expand(call: Call) -> Values:
    given, wanted = call.input(0), call.numbers(1)
    if wanted is None:
        raise Unfollowed
    dims = broadcast(call.dims(0), wanted)
    return (value(given.element_type, dims, _repeated(given, dims)),)


def _repeated(given: Value, dims: Numbers) -> Numbers | None:
    if given.numbers is None or len(given.numbers) != 1 or len(dims) > 1:
        return given.numbers if given.dims == dims else None
    [length] = dims or (1,)
    return given.numbers * length if isinstance(length, int) and length <= MAX_NUMBERS else None


def tile(call: Call) -> Values:
    given, dims, times = call.input(0), call.dims(0), call.numbers(1)
    if times is None or len(times) != len(dims):
        raise Unfollowed
    return (value(given.element_type, tuple(map(sizes.multiply, dims, times))),)


def constant_of_shape(call: Call) -> Values:
    dims = call.numbers(0)
    if dims is None:
        raise Unfollowed
    tensor = call.attributes["value"].tensor if "value" in call.attributes else None
    one = value(FLOAT, (1,)) if tensor is None else tensor_value(tensor)
    result = value(one.element_type, dims)
    numbers = None
    if (
        one.numbers is not None
        and result.most <= MAX_NUMBERS
        and all(isinstance(each, int) for each in dims)
    ):
        numbers = one.numbers[:1] * result.most
    return (value(one.element_type, dims, numbers),)


def pad(call: Call) -> Values:
    given, dims = call.input(0), call.dims(0)
    listed = call.integers("pads")
    pads = call.numbers(1) if listed is None else (*listed,)
    axes = call.axes(3, len(dims)) if call.has(3) else [*range(len(dims))]
    if pads is None or axes is None or len(pads) != 2 * len(axes):
        raise Unfollowed
    result = [*dims]
    for place, at in enumerate(axes):
        added = sizes.add(pads[place], pads[place + len(axes)])
        result[at] = sizes.larger(0, sizes.add(result[at], added))
    return (value(given.element_type, (*result,)),)


def concat(call: Call) -> Values:
    """Numbers are followed where lists of them are put together, as shapes are."""
    given = [*call.given()]
    first = call.dims(0)
    axis = call.axis(len(first), 0)
    result = [*first]
    for other in given[1:]:
        if other.rank != len(first) or other.dims is None:
            raise call.wrong("puts tensors together whose axes differ in number")
        for at, each in enumerate(other.dims):
            if at == axis:
                result[at] = sizes.add(result[at], each)
            elif result[at] != each:
                result[at] = sizes.either(result[at], each)
    numbers: Numbers | None = ()
    for one in given:
        numbers = None if numbers is None or one.numbers is None else (*numbers, *one.numbers)
        if numbers is not None and len(numbers) > MAX_NUMBERS:
            numbers = None
    numbers = numbers if len(first) == 1 else None
    return (value(given[0].element_type, (*result,), numbers, sum(one.most for one in given)),)


def split(call: Call) -> Values:
    given, dims, count = call.input(0), call.dims(0), call.outputs
    axis = call.axis(len(dims), 0)
    listed = call.integers("split")
    parts = call.numbers(1) if listed is None else (*listed,)
    if call.integer("num_outputs", count) != count or len(parts or range(count)) != count:
        raise call.wrong(f"has {count} results, and another number of parts")
    if parts is None and call.has(1):
        parts = (sizes.between(0, sizes.most(dims[axis])),) * count
    elif parts is None:
        parts = (_part(dims[axis], count),) * count
    numbers, at = given.numbers if len(dims) == 1 else None, 0
    results = []
    for part in parts:
        own = None
        if numbers is not None and isinstance(part, int):
            own, at = numbers[at : at + part], at + part
            own = own if len(own) == part else None
        else:
            numbers = None
        shape = (*dims[:axis], part, *dims[axis + 1 :])
        results.append(value(given.element_type, shape, own, given.most))
    return (*results,)


def _part(whole: Number, count: int) -> Number:
    """Return the size of one of that many equal parts."""
    exact = sizes.exact_quotient(whole, count)
    if exact is not None:
        return exact
    return sizes.between(0, -(-sizes.most(whole) // count))


def eye_like(call: Call) -> Values:
    element_type = call.integer("dtype", call.input(0).element_type)
    return (value(element_type, call.dims(0), None, call.input(0).most),)
