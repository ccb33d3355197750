"""Checking a graph before ONNX Runtime sees it: a model file is untrusted.

ONNX Runtime follows external-data references and loads whatever operators a graph names. What we
write is far narrower, so everything else is refused. Fields are those of onnx.proto3.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.graph import DataType, GraphContract, TensorSpec
from gptneo_onnx.models.manifest import WEIGHTS_FILE
from gptneo_onnx.runtime.model_files import onnx_schema as messages
from gptneo_onnx.runtime.model_files.protobuf import Message

# A graph of 1024 layers has 4 MB.
MAX_GRAPH_BYTES = 16 * 1024 * 1024
MAX_DIMENSIONS = 8
# Operator domains and their versions, oldest and newest, that we write.
DOMAINS = {"": (18, 21), "com.microsoft": (1, 1)}

_INLINE, _EXTERNAL = 0, 1
# "checksum" and "prepacked_..." are known to ONNX Runtime too.
_EXTERNAL_KEYS = {"location", "offset", "length"}
# Portable graphs alone have the two others.
_TYPES = set(DataType) - {DataType.BOOL, DataType.UINT4}
_ITEM_SIZES = {data_type.onnx: data_type.itemsize for data_type in _TYPES}

# Element type and axes.
Signature = tuple[int, tuple[int | str, ...]]


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
    model = Message(messages.MODEL, memoryview(path.read_bytes()))
    domains = _read_domains(Message(messages.OPSET, opset) for opset in model.views("opset_import"))
    if "graph" not in model:
        raise ModelFileError("the model has no graph")
    graph = Message(messages.GRAPH, model.view("graph"))
    weights = path.parent / WEIGHTS_FILE
    found = _check_initializers(
        graph.views("initializer"), weights.stat().st_size if weights.is_file() else 0
    )
    _check_signatures("weight", found, contract.tables)
    for node in graph.views("node"):
        _check_node(Message(messages.NODE, node), domains)
    _check_values("input", graph.views("input"), contract.inputs)
    _check_values("output", graph.views("output"), contract.outputs)


def _read_domains(opsets: Iterable[Message]) -> set[str]:
    """The domains whose operators the graph may have: all are ours, in a version that we write."""
    seen: set[str] = set()
    for opset in opsets:
        domain, version = opset.text("domain"), opset.integer("version")
        oldest, newest = DOMAINS.get(domain, (0, -1))
        if not oldest <= version <= newest or domain in seen:
            raise ModelFileError(
                f"operators of {shown(domain or 'ai.onnx')} version {version} are not ours"
            )
        seen.add(domain)
    if "" not in seen:
        raise ModelFileError("the version of the standard operators is missing")
    return seen


def _check_initializers(
    initializers: Sequence[memoryview], weights_size: int
) -> dict[str, Signature]:
    """The element type and shape of each by name."""
    found: dict[str, Signature] = {}
    for initializer in initializers:
        tensor = Message(messages.TENSOR, initializer)
        name = tensor.text("name")
        if name in found:
            raise ModelFileError(f"there are two weights {shown(name)}")
        _check_initializer(tensor, shown(name), weights_size)
        found[name] = (tensor.integer("data_type"), tuple(tensor.integers("dims")))
    return found


def _check_initializer(tensor: Message, name: str, weights_size: int) -> None:
    dims, item_size = tensor.integers("dims"), _ITEM_SIZES.get(tensor.integer("data_type"))
    if item_size is None or len(dims) > MAX_DIMENSIONS or 0 in dims:
        raise ModelFileError(f"{name} has a type or shape that no weight has")
    location = tensor.integer("data_location")
    is_external = "external_data" in tensor
    if location not in (_INLINE, _EXTERNAL) or is_external == ("raw_data" in tensor):
        raise ModelFileError(f"{name} does not lie in one place")
    if is_external != (location == _EXTERNAL):
        raise ModelFileError(f"{name} says that it lies elsewhere than it does")
    if is_external:
        length = _external_length(tensor, name, weights_size)
    else:
        length = len(tensor.view("raw_data"))
    if length != prod(dims) * item_size:
        raise ModelFileError(f"{name} has shape {dims}, but {length} bytes")


def _external_length(tensor: Message, name: str, weights_size: int) -> int:
    """How many bytes of WEIGHTS_FILE it takes, all of which are there."""
    entries = [Message(messages.PLACE, entry) for entry in tensor.views("external_data")]
    place = {entry.text("key"): entry.text("value") for entry in entries}
    if len(place) < len(entries) or place.keys() != _EXTERNAL_KEYS:
        keys = [entry.text("key") for entry in entries]
        raise ModelFileError(
            f"the place of {name} has the entries {shown(keys)}; "
            f"{', '.join(sorted(_EXTERNAL_KEYS))}, each once, are allowed"
        )
    if place["location"] != WEIGHTS_FILE:
        raise ModelFileError(
            f"{name} lies in {shown(place['location'])}; only {WEIGHTS_FILE} is read"
        )
    offset, length = _size(name, "offset", place), _size(name, "length", place)
    if offset + length > weights_size:
        raise ModelFileError(
            f"{name} ends at byte {offset + length} of {WEIGHTS_FILE}, which has {weights_size}"
        )
    return length


def _size(name: str, key: str, place: dict[str, str]) -> int:
    value = place[key]
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise ModelFileError(f"the {key} of {name} is {shown(value)}; a size is expected")
    return int(value)


def _check_node(node: Message, domains: set[str]) -> None:
    domain = node.text("domain")
    if domain not in domains:
        raise ModelFileError(f"an operator of the domain {shown(domain)} is not ours")
    for attribute in node.views("attribute"):
        Message(messages.ATTRIBUTE, attribute)  # refuses tensors and subgraphs


def _check_values(
    kind: str, values: Sequence[memoryview], expected: tuple[TensorSpec, ...]
) -> None:
    found: dict[str, Signature] = {}
    for value in values:
        name, signature = _read_value(value)
        if name in found:
            raise ModelFileError(f"the graph has the {kind} {shown(name)} twice")
        found[name] = signature
    _check_signatures(kind, found, expected)
    extra = sorted(found.keys() - {spec.name for spec in expected})
    if extra:
        raise ModelFileError(f"the graph has an unexpected {kind}: {shown(extra[0])}")


def _check_signatures(
    kind: str, found: Mapping[str, Signature], expected: tuple[TensorSpec, ...]
) -> None:
    for spec in expected:
        if found.get(spec.name) != (spec.data_type.onnx, spec.axes):
            raise ModelFileError(
                f"config.json makes the {kind} {spec.name} {spec.data_type.value} "
                f"{list(spec.axes)}, the graph has {shown(found.get(spec.name))}"
            )


def _read_value(content: memoryview) -> tuple[str, Signature]:
    """(name, (element type, axes)) of a ValueInfoProto."""
    value = Message(messages.VALUE, content)
    tensor_type = Message(
        messages.TENSOR_TYPE, Message(messages.TYPE, value.view("type")).view("tensor_type")
    )
    if "shape" not in tensor_type:  # of unknown rank, which is not a scalar
        raise ModelFileError(f"{shown(value.text('name'))} has no shape")
    shape = Message(messages.SHAPE, tensor_type.view("shape"))
    axes = tuple(_read_axis(Message(messages.DIMENSION, axis)) for axis in shape.views("dim"))
    return value.text("name"), (tensor_type.integer("elem_type"), axes)


def _read_axis(axis: Message) -> int | str:
    if ("dim_value" in axis) == ("dim_param" in axis):
        raise ModelFileError("an axis has no size, or two")
    return axis.integer("dim_value") if "dim_value" in axis else axis.text("dim_param")
