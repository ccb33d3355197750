"""Checking a graph before ONNX Runtime sees it: a model file is untrusted.

ONNX Runtime follows external-data references and loads whatever operators a graph names. What we
write is far narrower, so everything else is refused. Field numbers are those of onnx.proto3.
"""

from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.graph import DataType, GraphContract, TensorSpec
from gptneo_onnx.models.manifest import WEIGHTS_FILE
from gptneo_onnx.runtime.protobuf import fields, message_bytes, packed_integers, text

MAX_GRAPH_BYTES = 64 * 1024 * 1024
MAX_DIMENSIONS = 8
# Operator domains and their versions, oldest and newest, that we write.
DOMAINS = {"": (18, 21), "com.microsoft": (1, 1)}

_ELEMENT_TYPES = {data_type.onnx: data_type for data_type in DataType}


@dataclass
class _Tensor:
    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False


@dataclass
class _Graph:
    nodes: list[memoryview] = field(default_factory=list)
    initializers: list[memoryview] = field(default_factory=list)
    inputs: list[memoryview] = field(default_factory=list)
    outputs: list[memoryview] = field(default_factory=list)


def check_graph(path: Path, contract: GraphContract) -> None:
    """Refuse a graph that is not as we write it.

    Raises:
        ModelFileError: too large, damaged, foreign operators, subgraphs or functions, external data
            anywhere but in WEIGHTS_FILE's bounds, or inputs and outputs other than the contract's.
    """
    try:
        _check(path, contract)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}; export the checkpoint again") from error


def _check(path: Path, contract: GraphContract) -> None:
    size = path.stat().st_size
    if size > MAX_GRAPH_BYTES:
        raise ModelFileError(f"the graph has {size} bytes, at most {MAX_GRAPH_BYTES} are read")
    graph = _read_model(memoryview(path.read_bytes()))
    weights = path.parent / WEIGHTS_FILE
    weights_size = weights.stat().st_size if weights.is_file() else 0
    for initializer in graph.initializers:
        _check_initializer(_read_tensor(initializer), weights_size)
    for node in graph.nodes:
        _check_node(node)
    _check_values("input", graph.inputs, contract.inputs)
    _check_values("output", graph.outputs, contract.outputs)


def _read_model(model: memoryview) -> _Graph:
    graphs: list[_Graph] = []
    versions: dict[str, int] = {}
    for number, value in fields(model):
        if number == 7:  # graph
            graphs.append(_read_graph(message_bytes(value)))
        elif number == 8:  # opset_import
            domain, version = _read_opset(message_bytes(value))
            versions[domain] = version
        elif number in (20, 25):  # training_info, functions
            raise ModelFileError("the graph holds functions or training steps; we write none")
    if len(graphs) != 1:
        raise ModelFileError(f"the file holds {len(graphs)} graphs; one is expected")
    for domain, version in versions.items():
        oldest, newest = DOMAINS.get(domain, (0, -1))
        if not oldest <= version <= newest:
            raise ModelFileError(
                f"operators of {domain or 'ai.onnx'!r} version {version} are not ours"
            )
    return graphs[0]


def _read_opset(opset: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in fields(opset):
        if number == 1:
            domain = text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    return domain, version


def _read_graph(message: memoryview) -> _Graph:
    graph = _Graph()
    lists = {1: graph.nodes, 5: graph.initializers, 11: graph.inputs, 12: graph.outputs}
    for number, value in fields(message):
        if number == 15:  # sparse_initializer
            raise ModelFileError("the graph holds sparse weights; we write none")
        if number in lists:
            lists[number].append(message_bytes(value))
    return graph


def _read_tensor(message: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, value in fields(message):
        if number == 1:
            tensor.dims += packed_integers(value)
        elif number == 2 and isinstance(value, int):
            tensor.data_type = value
        elif number == 8:
            tensor.name = text(value)
        elif number == 13:  # external_data: StringStringEntryProto
            entry = dict(fields(message_bytes(value)))
            tensor.external[text(entry.get(1, memoryview(b"")))] = text(
                entry.get(2, memoryview(b""))
            )
        elif number == 14:  # data_location
            tensor.is_external = value != 0
    return tensor


def _check_initializer(tensor: _Tensor, weights_size: int) -> None:
    if not tensor.is_external and not tensor.external:
        return
    location = tensor.external.get("location")
    if location != WEIGHTS_FILE:
        raise ModelFileError(
            f"the weights of {tensor.name} lie in {location!r}; only {WEIGHTS_FILE} is read"
        )
    element_type = _ELEMENT_TYPES.get(tensor.data_type)
    if element_type is None or len(tensor.dims) > MAX_DIMENSIONS:
        raise ModelFileError(f"{tensor.name} has a type or shape that no weight has")
    offset, length = _size(tensor, "offset"), _size(tensor, "length")
    if length != prod(tensor.dims) * element_type.itemsize:
        raise ModelFileError(f"{tensor.name} has shape {tensor.dims}, but {length} bytes")
    if offset + length > weights_size:
        raise ModelFileError(
            f"{tensor.name} ends at byte {offset + length} of {WEIGHTS_FILE}, "
            f"which has {weights_size}"
        )


def _size(tensor: _Tensor, key: str) -> int:
    value = tensor.external.get(key, "")
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise ModelFileError(f"the {key} of {tensor.name} is {value[:40]!r}; a size is expected")
    return int(value)


def _check_node(node: memoryview) -> None:
    domain, attributes = "", []
    for number, value in fields(node):
        if number == 5:  # attribute
            attributes.append(message_bytes(value))
        elif number == 7:
            domain = text(value)
    if domain not in DOMAINS:
        raise ModelFileError(f"an operator of the domain {domain[:40]!r} is not ours")
    for attribute in attributes:
        for number, _ in fields(attribute):
            # t, g, tensors, graphs, sparse_tensor, sparse_tensors
            if number in (5, 6, 10, 11, 22, 23):
                raise ModelFileError("an operator carries tensors or subgraphs; ours carry none")


def _check_values(kind: str, values: list[memoryview], expected: tuple[TensorSpec, ...]) -> None:
    found = dict(map(_read_value, values))
    for spec in expected:
        signature = (spec.data_type.onnx, spec.axes)
        if found.get(spec.name) != signature:
            raise ModelFileError(
                f"config.json makes the {kind} {spec.name} {spec.data_type.value} "
                f"{list(spec.axes)}, the graph has {found.get(spec.name, 'none')}"
            )
    extra = sorted(found.keys() - {spec.name for spec in expected})
    if extra:
        raise ModelFileError(f"the graph has an unexpected {kind}: {extra[0][:80]}")


def _read_value(message: memoryview) -> tuple[str, tuple[int, tuple[int | str, ...]]]:
    """(name, (element type, axes)) of a ValueInfoProto."""
    name, element_type = "", 0
    axes: tuple[int | str, ...] = ()
    for number, value in fields(message):
        if number == 1:
            name = text(value)
        elif number == 2:  # type
            for kind, tensor_type in fields(message_bytes(value)):
                if kind == 1:  # tensor_type
                    element_type, axes = _read_tensor_type(message_bytes(tensor_type))
    return name, (element_type, axes)


def _read_tensor_type(message: memoryview) -> tuple[int, tuple[int | str, ...]]:
    element_type = 0
    axes: list[int | str] = []
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            element_type = value
        elif number == 2:  # shape
            axes += [
                _read_dimension(message_bytes(dimension))
                for field_number, dimension in fields(message_bytes(value))
                if field_number == 1
            ]
    return element_type, tuple(axes)


def _read_dimension(message: memoryview) -> int | str:
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            return value
        if number == 2:
            return text(value)
    return ""
