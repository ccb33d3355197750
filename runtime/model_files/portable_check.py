"""Checking a portable graph before ONNX Runtime sees it, whoever wrote it.

Other exporters write more than graph_check.py allows: constants as attributes, the two subgraphs
of an If, types of what lies between operators. What could do harm is refused all the same: weights
anywhere but beside the graph and within their file, functions, loops, operators that are neither
ONNX's nor ONNX Runtime's, options for the session. Fields are those of onnx.proto3.
"""

import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.runtime.model_files import onnx_schema as messages
from gptneo_onnx.runtime.model_files.paths import check_inside
from gptneo_onnx.runtime.model_files.protobuf import Kind, Message, Schema

# Protobuf's own limit: weights may be in the graph's file.
MAX_GRAPH_BYTES = 2**31 - 1
_MAX_DEPTH = 8

# Still left out, and so refused: training_info, functions, sparse_initializer, lists of tensors and
# of graphs, segment, string_data. Lists of numbers are packed, and not looked into.
_MODEL = messages.MODEL.and_also({14: ("metadata_props", Kind.SEVERAL_BYTES)})
_GRAPH = messages.GRAPH.and_also(
    {
        13: ("value_info", Kind.SEVERAL_BYTES),
        14: ("quantization_annotation", Kind.SEVERAL_BYTES),
        16: ("metadata_props", Kind.SEVERAL_BYTES),
    }
)
_NODE = messages.NODE.and_also({9: ("metadata_props", Kind.SEVERAL_BYTES)})
_ATTRIBUTE = messages.ATTRIBUTE.and_also(
    {
        5: ("t", Kind.BYTES),
        6: ("g", Kind.BYTES),
        7: ("floats", Kind.SEVERAL_BYTES),
        9: ("strings", Kind.SEVERAL_BYTES),
        13: ("doc_string", Kind.BYTES),
    }
)
_TENSOR = messages.TENSOR.and_also(
    {
        4: ("float_data", Kind.BYTES),
        5: ("int32_data", Kind.BYTES),
        7: ("int64_data", Kind.BYTES),
        10: ("double_data", Kind.BYTES),
        11: ("uint64_data", Kind.BYTES),
        12: ("doc_string", Kind.BYTES),
    }
)
_VALUE = messages.VALUE.and_also(
    {3: ("doc_string", Kind.BYTES), 4: ("metadata_props", Kind.SEVERAL_BYTES)}
)
_TYPE = messages.TYPE.and_also({6: ("denotation", Kind.BYTES)})
_PROPERTY = Schema("a property", {1: ("key", Kind.BYTES), 2: ("value", Kind.BYTES)})
_DIMENSION = messages.DIMENSION.and_also({3: ("denotation", Kind.BYTES)})

# What tools import without using it comes from ONNX Runtime's own list of domains.
_OPERATOR_DOMAINS = ("", "ai.onnx", "com.microsoft")
# Tools of ONNX Runtime write its settings there, which it may be told to follow.
_SESSION_OPTIONS = "ort_config"
_EXTERNAL = 1
# Bits of an element by its number in onnx.TensorProto.DataType.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16,
    21: 4, 22: 4,
}  # fmt: skip
_DATA_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")

# Element type, and axes: a number, a name, or None where neither is given.
Signature = tuple[int, tuple[int | str | None, ...]]


@dataclass(frozen=True)
class GraphSignature:
    """What a graph takes and gives: element type and axes of each tensor by its name.

    `data_files` are those that its weights lie in, besides its own.
    """

    inputs: Mapping[str, Signature]
    outputs: Mapping[str, Signature]
    data_files: tuple[Path, ...] = ()


def check_portable_graph(path: Path) -> GraphSignature:
    """Refuse a graph that could do harm; what it takes and gives.

    Raises:
        ModelFileError: too large, damaged, foreign operators, functions, loops, or weights that are
            not where the graph says.
    """
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_GRAPH_BYTES:
            raise ModelFileError(f"the graph has {size} bytes; 1 to {MAX_GRAPH_BYTES} are read")
        with path.open("rb") as file:
            # Closed with the last view of it: weights in the graph's file are never copied.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        signature, weights = _check_model(memoryview(content))
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}; fetch or export the model again") from error
    files = weights.check_files(path.parent)
    return replace(signature, data_files=files)


def _check_model(content: memoryview) -> tuple[GraphSignature, "_Weights"]:
    model = Message(_MODEL, content)
    if "graph" not in model:
        raise ModelFileError("the model has no graph")
    for opset in model.views("opset_import"):
        Message(messages.OPSET, opset)
    for prop in model.views("metadata_props"):
        if Message(_PROPERTY, prop).text("key") == _SESSION_OPTIONS:
            raise ModelFileError("the model brings options for the session")
    graph = Message(_GRAPH, model.view("graph"))
    weights = _Weights()
    names = {weights.check(Message(_TENSOR, each)) for each in graph.views("initializer")}
    _check_nodes(graph, depth=1)
    inputs = _read_values(graph.views("input"))
    # Old exporters list every weight among the inputs, too.
    inputs = {name: signature for name, signature in inputs.items() if name not in names}
    return GraphSignature(inputs, _read_values(graph.views("output"))), weights


def _check_nodes(graph: Message, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ModelFileError(f"graphs lie in graphs more than {_MAX_DEPTH} deep")
    for view in graph.views("node"):
        node = Message(_NODE, view)
        operator, domain = node.text("op_type"), node.text("domain")
        if domain not in _OPERATOR_DOMAINS:
            raise ModelFileError(
                f"the operator {shown(operator)} is of the domain {shown(domain)}; "
                "those of ONNX and com.microsoft are run"
            )
        for attribute in node.views("attribute"):
            _check_attribute(Message(_ATTRIBUTE, attribute), operator, depth)


def _check_attribute(attribute: Message, operator: str, depth: int) -> None:
    if "t" in attribute:
        _check_inline(Message(_TENSOR, attribute.view("t")))
    if "g" in attribute:
        if operator != "If":
            raise ModelFileError(f"the operator {shown(operator)} has a graph of its own")
        branch = Message(_GRAPH, attribute.view("g"))
        for initializer in branch.views("initializer"):
            _check_inline(Message(_TENSOR, initializer))
        _check_nodes(branch, depth + 1)


def _check_inline(tensor: Message) -> None:
    """A weight that is no initializer of the whole graph lies in the graph's file."""
    name = shown(tensor.text("name"))
    if "external_data" in tensor or tensor.integer("data_location") == _EXTERNAL:
        raise ModelFileError(f"the constant {name} lies in another file")
    if "raw_data" in tensor and len(tensor.view("raw_data")) != _size(tensor, name):
        raise ModelFileError(
            f"{name} has shape {tensor.integers('dims')}, but {len(tensor.view('raw_data'))} bytes"
        )


def _size(tensor: Message, name: str) -> int:
    """Bytes that a tensor's elements take."""
    bits = _BITS.get(tensor.integer("data_type"))
    if bits is None:
        raise ModelFileError(f"{name} is of a type that no weight has")
    return (prod(tensor.integers("dims")) * bits + 7) // 8


class _Weights:
    """The initializers of a graph, and the files that they lie in: beside it.

    Attributes:
        ends: of each file the last initializer's name, and the byte behind it.
    """

    def __init__(self) -> None:
        self.ends: dict[str, tuple[int, str]] = {}

    def check(self, tensor: Message) -> str:
        """The name of an initializer; where it ends is noted."""
        name = tensor.text("name")
        if "external_data" not in tensor:
            _check_inline(tensor)
            return name
        entries = [Message(messages.PLACE, entry) for entry in tensor.views("external_data")]
        place = {entry.text("key"): entry.text("value") for entry in entries}
        known = {"location", "offset", "length", "checksum"}
        if len(place) < len(entries) or "location" not in place or place.keys() - known:
            raise ModelFileError(
                f"the place of {shown(name)} has the entries {shown([*place])}; "
                f"{', '.join(sorted(known))}, each once, are read"
            )
        needed = _size(tensor, shown(name))
        offset = _number(name, "offset", place.get("offset", "0"))
        length = _number(name, "length", place.get("length", str(needed)))
        if length != needed:
            raise ModelFileError(
                f"{shown(name)} has shape {tensor.integers('dims')}, but {length} bytes"
            )
        location = place["location"]
        if not _DATA_FILE.fullmatch(location):
            raise ModelFileError(
                f"{shown(name)} lies in {shown(location)}; only files beside the graph are read"
            )
        self.ends[location] = max(self.ends.get(location, (0, "")), (offset + length, name))
        return name

    def check_files(self, folder: Path) -> tuple[Path, ...]:
        """The files, each of them as long as it has to be."""
        for location, (end, name) in self.ends.items():
            size = check_inside(folder, location).st_size
            if end > size:
                raise ModelFileError(
                    f"{folder / location} has {size} bytes, and {shown(name)} ends at {end}: it is "
                    "not all there; fetch it again"
                )
        return tuple(folder / location for location in sorted(self.ends))


def _number(name: str, key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise ModelFileError(f"the {key} of {shown(name)} is {shown(value)}; a size is expected")
    return int(value)


def _read_values(views: Sequence[memoryview]) -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    for view in views:
        value = Message(_VALUE, view)
        name = value.text("name")
        if name in found:
            raise ModelFileError(f"the graph has an input or output {shown(name)} twice")
        tensor_type = Message(
            messages.TENSOR_TYPE, Message(_TYPE, value.view("type")).view("tensor_type")
        )
        shape = Message(messages.SHAPE, tensor_type.view("shape"))
        axes = (_read_axis(Message(_DIMENSION, axis)) for axis in shape.views("dim"))
        found[name] = (tensor_type.integer("elem_type"), tuple(axes))
    return found


def _read_axis(axis: Message) -> int | str | None:
    if "dim_value" in axis:
        return axis.integer("dim_value")
    return axis.text("dim_param") or None
