"""Rules of operators that select elements of a tensor, or reduce its axes.

Operators: https://onnx.ai/onnx/operators and
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.call import Call, Unfollowed
from gptneo_onnx.runtime.model_files.inference.sizes import Number
from gptneo_onnx.runtime.model_files.inference.values import (
    INT64,
    UINT8,
    Numbers,
    Value,
    value,
)

Values = tuple[Value, ...]


def gather(call: Call) -> Values:
    given, dims, wanted = call.input(0), call.dims(0), call.dims(1)
    axis = call.axis(len(dims), 0)
    shape = (*dims[:axis], *wanted, *dims[axis + 1 :])
    return (value(given.element_type, shape, _selected(call)),)


def _selected(call: Call) -> Numbers | None:
    """Return the elements that are taken from a list whose numbers are known."""
    numbers, places = call.numbers(0), call.numbers(1)
    if numbers is None or places is None or len(call.dims(0)) != 1 or not numbers:
        return None
    count = len(numbers)
    if any(not isinstance(each, int) or not -count <= each < count for each in places):
        return tuple(_any_of(numbers) for _ in places)
    return tuple(numbers[each] for each in places if isinstance(each, int))


def _any_of(numbers: Numbers) -> Number:
    return sizes.between(min(map(sizes.least, numbers)), max(map(sizes.most, numbers)))


def gather_elements(call: Call) -> Values:
    return (value(call.input(0).element_type, call.dims(1), None, call.input(1).most),)


def gather_nd(call: Call) -> Values:
    dims, wanted, batch = call.dims(0), call.dims(1), call.integer("batch_dims", 0)
    if not wanted or not isinstance(wanted[-1], int) or not 0 <= batch < len(wanted):
        raise Unfollowed
    if not 0 < wanted[-1] <= len(dims) - batch:
        raise call.wrong(f"selects by {wanted[-1]} axes of {len(dims)}")
    shape = (*wanted[:-1], *dims[batch + wanted[-1] :])
    return (value(call.input(0).element_type, shape),)


def gather_blocks(call: Call) -> Values:
    """GatherBlockQuantized: rows of a table whose blocks have scales."""
    table, ids, scales = call.dims(0), call.dims(1), call.input(2)
    bits, block = call.integer("bits", 4), call.integer("block_size", 128)
    if bits not in (2, 4, 8) or block < 16 or block & (block - 1):
        raise call.wrong(f"has blocks of {block} numbers of {bits} bits")
    axis = call.axis(len(table), 0, "gather_axis")
    wide = list(table)
    if call.input(0).element_type == UINT8:  # codes of fewer bits share a byte
        wide[-1] = sizes.multiply(wide[-1], 8 // bits)
    shape = (*wide[:axis], *ids, *wide[axis + 1 :])
    return (value(scales.element_type, shape),)


def like_first(call: Call) -> Values:
    """Scatter and its kin: the result has the first input's shape."""
    return (value(call.input(0).element_type, call.dims(0), None, call.input(0).most),)


def cut(call: Call) -> Values:
    """Slice, whose bounds are attributes in old graphs."""
    given, dims = call.input(0), call.dims(0)
    bounds = [_bounds(call, name, place) for place, name in enumerate(("starts", "ends"), 1)]
    listed = call.integers("axes") if "starts" in call.attributes else None
    axes: Numbers | None = None if listed is None else (*listed,)
    if axes is None and call.has(3):
        axes = call.numbers(3)
        if axes is None:
            raise Unfollowed
    result, numbers = [*dims], given.numbers if len(dims) == 1 else None
    steps = call.numbers(4) if call.has(4) else None
    counts = [len(each) for each in (*bounds, axes) if each is not None]
    for at in range(min(counts, default=0)):
        axis = at if axes is None else axes[at]
        if not isinstance(axis, int):
            raise Unfollowed
        axis = call.from_start(axis, len(dims))
        start, end = (None if each is None else each[at] for each in bounds)
        step: Number | None = 1
        if call.has(4):
            step = steps[at] if steps is not None and at < len(steps) else None
        length = _length(dims[axis], start, end, step)
        numbers = _slice_of(numbers, start, end, step) if len(dims) == 1 else None
        result[axis] = length
    if not counts or (None in bounds and axes is None):
        result, numbers = [sizes.between(0, sizes.most(each)) for each in dims], None
    if numbers is not None and len(numbers) != result[0]:
        numbers = None
    return (value(given.element_type, (*result,), numbers, given.most),)


def _bounds(call: Call, name: str, place: int) -> Numbers | None:
    listed = call.integers(name)
    return call.numbers(place) if listed is None else (*listed,)


def _length(size: Number, start: Number | None, end: Number | None, step: Number | None) -> Number:
    """Return the length of a slice; exact where it is sure to lie within the axis."""
    anything = sizes.between(0, sizes.most(size))
    if start is None or end is None or step is None:
        return anything
    if isinstance(size, int) and all(isinstance(each, int) for each in (start, end, step)):
        if step == 0:
            return anything
        return len(range(*slice(start, end, step).indices(max(size, 0))))
    if step != 1:
        return anything
    start, end = _counted(start, size), _counted(end, size)
    if sizes.least(end) >= sizes.most(size):
        end = size
    if sizes.least(start) < 0 or (end != size and sizes.most(end) > sizes.least(size)):
        return anything
    length = sizes.subtract(end, start)
    if sizes.least(length) < 0:
        return sizes.between(0, max(0, min(sizes.most(length), sizes.most(size))))
    return length


def _counted(at: Number, size: Number) -> Number:
    """Return a bound counted from the start; those below 0 count from the end."""
    return sizes.add(at, size) if sizes.most(at) < 0 else at


def _slice_of(
    numbers: Numbers | None, start: Number | None, end: Number | None, step: Number | None
) -> Numbers | None:
    if numbers is None or not step:
        return None
    if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        return numbers[start:end:step]
    return None


def non_zero(call: Call) -> Values:
    given = call.input(0)
    return (value(INT64, (max(1, given.rank), sizes.between(0, given.most))),)


def one_hot(call: Call) -> Values:
    dims, depth = call.dims(0), call.numbers(1)
    if depth is None or len(depth) != 1:
        raise Unfollowed
    axis = call.axis(len(dims) + 1, -1)
    return (value(call.input(2).element_type, (*dims[:axis], depth[0], *dims[axis:])),)


def top_k(call: Call) -> Values:
    dims, count = [*call.dims(0)], call.numbers(1)
    axis = call.axis(len(dims), -1)
    known = count is not None and len(count) == 1
    most = sizes.between(0, sizes.most(dims[axis]))
    dims[axis] = sizes.smaller(count[0], most) if known and count is not None else most
    shape = (*dims,)
    return value(call.input(0).element_type, shape), value(INT64, shape)


def arg(call: Call) -> Values:
    """ArgMax and ArgMin."""
    dims = call.dims(0)
    axis = call.axis(len(dims), 0)
    return (value(INT64, _reduced(call, dims, [axis])),)


def reduce(call: Call) -> Values:
    given, dims = call.input(0), call.dims(0)
    axes = call.axes(1, len(dims))
    if not axes:
        axes = [] if call.integer("noop_with_empty_axes", 0) == 1 else [*range(len(dims))]
    numbers = None
    if call.operator in ("ReduceProd", "ReduceSum") and len(dims) == 1 and axes and given.numbers:
        numbers = (_total(call.operator, given.numbers),)
    return (value(given.element_type, _reduced(call, dims, axes), numbers),)


def _reduced(call: Call, dims: Numbers, axes: list[int]) -> Numbers:
    if call.integer("keepdims", 1) == 1:
        return tuple(1 if place in axes else each for place, each in enumerate(dims))
    return tuple(each for place, each in enumerate(dims) if place not in axes)


def _total(operator: str, numbers: Numbers) -> Number:
    if operator == "ReduceProd":
        return sizes.product(numbers)
    total: Number = 0
    for number in numbers:
        total = sizes.add(total, number)
    return total
