"""Changes of a graph that leave it well-formed: what an attacker would try."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from gptneo_onnx.runtime.model_files.inference.operators import PORTABLE

_NUMBERS = (
    0, 1, -1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 255, 2**15, 2**20, 2**28, 2**31 - 1, 2**31, -(2**31),
    2**32, 2**40, 2**62, 2**63 - 1, -(2**63),
)  # fmt: skip
_TYPES = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL,
    TensorProto.UINT8, TensorProto.INT8, TensorProto.DOUBLE,
)  # fmt: skip
_DTYPES = (np.int64, np.int64, np.int32, np.float32, np.bool_, np.uint8)
_ATTRIBUTES = ("axis", "keepdims", "to", "transA", "transB", "start", "end", "batch_dims", "bits")


def mutate_model(random: Random, model: ModelProto) -> None:
    """Change a model in one to four places."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        graph = _some_graph(random, model.graph)
        if not graph.node:
            return
        random.choice(_CHANGES)(random, graph)


def _some_graph(random: Random, graph: GraphProto) -> GraphProto:
    """Return the model's graph, or now and then one that an operator holds."""
    inner = [each.g for node in graph.node for each in node.attribute if each.HasField("g")]
    return random.choice(inner) if inner and random.random() < 0.7 else graph


def _names(graph: GraphProto) -> Sequence[str]:
    found = [value.name for value in graph.input]
    found += [tensor.name for tensor in graph.initializer]
    return [*found, *(name for node in graph.node for name in node.output if name)]


def _node(random: Random, graph: GraphProto) -> NodeProto:
    return random.choice(graph.node)


def _change_attribute(random: Random, graph: GraphProto) -> None:
    nodes = [node for node in graph.node if node.attribute]
    if not nodes:
        return
    attribute = random.choice(random.choice(nodes).attribute)
    if attribute.HasField("i"):
        attribute.i = random.choice(_NUMBERS)
    elif attribute.HasField("f"):
        attribute.f = random.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
    elif attribute.ints:
        attribute.ints[random.randrange(len(attribute.ints))] = random.choice(_NUMBERS)
    elif attribute.HasField("t"):
        _change_tensor(random, attribute.t)


def _drop_attribute(random: Random, graph: GraphProto) -> None:
    node = _node(random, graph)
    if node.attribute:
        del node.attribute[random.randrange(len(node.attribute))]


def _add_attribute(random: Random, graph: GraphProto) -> None:
    name = random.choice(_ATTRIBUTES)
    value = random.choice(_NUMBERS)
    _node(random, graph).attribute.append(helper.make_attribute(name, value))


def _change_weight(random: Random, graph: GraphProto) -> None:
    if graph.initializer:
        _change_tensor(random, random.choice(graph.initializer))


def _change_tensor(random: Random, tensor: TensorProto) -> None:
    if tensor.external_data or random.random() < 0.3:
        _change_shape(random, tensor)
        return
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (TypeError, ValueError):
        return
    if array.size and array.dtype.kind in "iub":
        limits = np.iinfo(array.dtype) if array.dtype.kind != "b" else None
        number = random.choice(_NUMBERS)
        if limits is not None:
            number = min(max(number, limits.min), limits.max)
        array.reshape(-1)[random.randrange(array.size)] = number
    elif array.size and array.dtype.kind == "f":
        array.reshape(-1)[random.randrange(array.size)] = random.choice((0, -1, np.nan, np.inf))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _change_shape(random: Random, tensor: TensorProto) -> None:
    """Give a tensor other axes of as many elements, or another type of as many bytes."""
    dims = [*tensor.dims]
    match random.randrange(4):
        case 0:
            random.shuffle(dims)
        case 1:
            dims = [int(np.prod(dims))]
        case 2:
            dims = [*dims, 1] if random.random() < 0.5 else [1, *dims]
        case 3 if dims and dims[-1] % 2 == 0:
            dims = [*dims[:-1], dims[-1] // 2, 2]
    tensor.dims[:] = dims
    if random.random() < 0.2:
        tensor.data_type = random.choice(_TYPES)


def _rewire(random: Random, graph: GraphProto) -> None:
    """Have an operator read another tensor."""
    node = _node(random, graph)
    if node.input:
        node.input[random.randrange(len(node.input))] = random.choice(_names(graph))


def _drop_or_add_input(random: Random, graph: GraphProto) -> None:
    node = _node(random, graph)
    if node.input and random.random() < 0.6:
        at = random.randrange(len(node.input))
        if random.random() < 0.5:
            node.input[at] = ""
        else:
            del node.input[at]
    else:
        node.input.append(random.choice(_names(graph)))


def _change_operator(random: Random, graph: GraphProto) -> None:
    node = _node(random, graph)
    if random.random() < 0.4:
        other = _node(random, graph)
        node.domain, node.op_type = other.domain, other.op_type
    else:
        node.domain, node.op_type = random.choice([*PORTABLE])


def _insert(random: Random, graph: GraphProto) -> None:
    """Put an operator of any kind before another that reads its result."""
    domain, operator = random.choice([*PORTABLE])
    at = random.randrange(len(graph.node))
    before = [name for node in graph.node[:at] for name in node.output if name]
    before += [tensor.name for tensor in graph.initializer] + [v.name for v in graph.input]
    if not before:
        return
    number = len(graph.node)
    inputs = [
        _constant(random, graph, f"fuzz{number}.{place}")
        if random.random() < 0.5
        else random.choice(before)
        for place in range(random.choice((1, 1, 2, 2, 2, 3, 4)))
    ]
    output = f"fuzz{number}.out"
    attributes: dict[str, Any] = {}
    if random.random() < 0.4:
        attributes[random.choice(_ATTRIBUTES)] = random.choice(_NUMBERS)
    if operator.startswith("Cast"):
        attributes = {"to": random.choice(_TYPES)}
    node = helper.make_node(operator, inputs, [output], domain=domain, **attributes)
    reader = graph.node[at]
    if reader.input:
        reader.input[random.randrange(len(reader.input))] = output
    nodes = [*graph.node]
    nodes.insert(at, node)
    del graph.node[:]
    graph.node.extend(nodes)


def _constant(random: Random, graph: GraphProto, name: str) -> str:
    dtype = random.choice(_DTYPES)
    shape = random.choice(((), (1,), (1,), (2,), (3,), (2, 2)))
    values = [random.choice(_NUMBERS) for _ in range(int(np.prod(shape)))]
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = [min(max(value, limits.min), limits.max) for value in values]
    array = np.array(values, object).astype(dtype).reshape(shape)
    graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _drop(random: Random, graph: GraphProto) -> None:
    """Leave out an operator; what read its result reads its input."""
    at = random.randrange(len(graph.node))
    node = graph.node[at]
    names = [name for name in node.input if name]
    if not names or not node.output:
        return
    for other in graph.node:
        other.input[:] = [names[0] if name == node.output[0] else name for name in other.input]
    del graph.node[at]


def _fix_axis(random: Random, graph: GraphProto) -> None:
    """Give an axis of an input or output a size."""
    values = [*graph.input, *graph.output]
    dims = random.choice(values).type.tensor_type.shape.dim if values else []
    if dims:
        random.choice(dims).dim_value = random.choice(_NUMBERS)


def _chain(random: Random, graph: GraphProto) -> None:
    """Repeat an operator on its own result."""
    at = random.randrange(len(graph.node))
    node = graph.node[at]
    if not node.input or not node.output:
        return
    place, last, added = random.randrange(len(node.input)), node.output[0], []
    for step in range(random.choice((1, 5, 40))):
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[place] = last
        if random.random() < 0.3:
            copy.input[:] = [last for _ in copy.input]
        last = f"chain{len(graph.node)}.{step}"
        copy.output[:] = [last, *(f"{last}.{each}" for each in range(1, len(copy.output)))]
        copy.name = last
        added.append(copy)
    nodes = [*graph.node]
    for other in nodes[at + 1 :]:
        other.input[:] = [last if name == node.output[0] else name for name in other.input]
    nodes[at + 1 : at + 1] = added
    del graph.node[:]
    graph.node.extend(nodes)


_CHANGES: Sequence[Callable[[Random, GraphProto], None]] = (
    _change_attribute, _change_attribute, _drop_attribute, _add_attribute, _change_weight,
    _change_weight, _rewire, _rewire, _drop_or_add_input, _change_operator, _insert, _insert,
    _insert, _drop, _fix_axis, _chain,
)  # fmt: skip
