"""Checking a portable graph before ONNX Runtime sees it, whoever wrote it.

Other exporters write more than graph_check.py allows: constants as attributes, the two subgraphs
of an If, types of what lies between operators. What could do harm is refused all the same: weights
anywhere but beside the graph and within their file, functions, loops, operators that are neither
ONNX's nor ONNX Runtime's, options for the session. Fields are those of onnx.proto3.
"""

import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.json_file import shown
from gptneo_onnx.runtime.file_place import check_place
from gptneo_onnx.runtime.protobuf import Kind, Message, Schema

# Protobuf's own limit: weights may be in the graph's file.
MAX_GRAPH_BYTES = 2**31 - 1
_MAX_DEPTH = 8

# Left out, and so refused: training_info, functions, configuration.
_MODEL = Schema(
    "the model",
    {
        1: ("ir_version", Kind.INTEGER),
        2: ("producer_name", Kind.BYTES),
        3: ("producer_version", Kind.BYTES),
        4: ("domain", Kind.BYTES),
        5: ("model_version", Kind.INTEGER),
        6: ("doc_string", Kind.BYTES),
        7: ("graph", Kind.BYTES),
        8: ("opset_import", Kind.SEVERAL_BYTES),
        14: ("metadata_props", Kind.SEVERAL_BYTES),
    },
)
# Left out: sparse_initializer.
_GRAPH = Schema(
    "the graph",
    {
        1: ("node", Kind.SEVERAL_BYTES),
        2: ("name", Kind.BYTES),
        5: ("initializer", Kind.SEVERAL_BYTES),
        10: ("doc_string", Kind.BYTES),
        11: ("input", Kind.SEVERAL_BYTES),
        12: ("output", Kind.SEVERAL_BYTES),
        13: ("value_info", Kind.SEVERAL_BYTES),
        14: ("quantization_annotation", Kind.SEVERAL_BYTES),
        16: ("metadata_props", Kind.SEVERAL_BYTES),
    },
)
_NODE = Schema(
    "an operator",
    {
        1: ("input", Kind.SEVERAL_BYTES),
        2: ("output", Kind.SEVERAL_BYTES),
        3: ("name", Kind.BYTES),
        4: ("op_type", Kind.BYTES),
        5: ("attribute", Kind.SEVERAL_BYTES),
        6: ("doc_string", Kind.BYTES),
        7: ("domain", Kind.BYTES),
        9: ("metadata_props", Kind.SEVERAL_BYTES),
    },
)
# Left out: lists of tensors and of graphs, sparse tensors, references to a function's attributes.
_ATTRIBUTE = Schema(
    "an operator's attribute",
    {
        1: ("name", Kind.BYTES),
        2: ("f", Kind.FLOAT),
        3: ("i", Kind.INTEGER),
        4: ("s", Kind.BYTES),
        5: ("t", Kind.BYTES),
        6: ("g", Kind.BYTES),
        7: ("floats", Kind.SEVERAL_BYTES),
        8: ("ints", Kind.INTEGERS),
        9: ("strings", Kind.SEVERAL_BYTES),
        13: ("doc_string", Kind.BYTES),
        20: ("type", Kind.INTEGER),
    },
)
# Left out: segment, string_data. Lists of numbers are packed, and not looked into.
_TENSOR = Schema(
    "a weight",
    {
        1: ("dims", Kind.INTEGERS),
        2: ("data_type", Kind.INTEGER),
        4: ("float_data", Kind.BYTES),
        5: ("int32_data", Kind.BYTES),
        7: ("int64_data", Kind.BYTES),
        8: ("name", Kind.BYTES),
        9: ("raw_data", Kind.BYTES),
        10: ("double_data", Kind.BYTES),
        11: ("uint64_data", Kind.BYTES),
        12: ("doc_string", Kind.BYTES),
        13: ("external_data", Kind.SEVERAL_BYTES),
        14: ("data_location", Kind.INTEGER),
    },
)
_ENTRY = Schema("an entry", {1: ("key", Kind.BYTES), 2: ("value", Kind.BYTES)})
_OPSET = Schema("an opset", {1: ("domain", Kind.BYTES), 2: ("version", Kind.INTEGER)})
_VALUE = Schema(
    "an input or output",
    {
        1: ("name", Kind.BYTES),
        2: ("type", Kind.BYTES),
        3: ("doc_string", Kind.BYTES),
        4: ("metadata_props", Kind.SEVERAL_BYTES),
    },
)
_TYPE = Schema(
    "an input's or output's type", {1: ("tensor_type", Kind.BYTES), 6: ("denotation", Kind.BYTES)}
)
_TENSOR_TYPE = Schema(
    "an input's or output's type", {1: ("elem_type", Kind.INTEGER), 2: ("shape", Kind.BYTES)}
)
_SHAPE = Schema("an input's or output's shape", {1: ("dim", Kind.SEVERAL_BYTES)})
_DIMENSION = Schema(
    "an input's or output's axis",
    {
        1: ("dim_value", Kind.INTEGER),
        2: ("dim_param", Kind.BYTES),
        3: ("denotation", Kind.BYTES),
    },
)

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
        return _check_model(memoryview(content), path.parent)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}; fetch or export the model again") from error


def _check_model(content: memoryview, folder: Path) -> GraphSignature:
    model = Message(_MODEL, content)
    if "graph" not in model:
        raise ModelFileError("the model has no graph")
    for opset in model.views("opset_import"):
        Message(_OPSET, opset)
    for prop in model.views("metadata_props"):
        if Message(_ENTRY, prop).text("key") == _SESSION_OPTIONS:
            raise ModelFileError("the model brings options for the session")
    graph = Message(_GRAPH, model.view("graph"))
    weights = _Weights(folder)
    names = {weights.check(Message(_TENSOR, each)) for each in graph.views("initializer")}
    _check_nodes(graph, depth=1)
    inputs = _read_values(graph.views("input"))
    # Old exporters list every weight among the inputs, too.
    inputs = {name: signature for name, signature in inputs.items() if name not in names}
    files = tuple(folder / name for name in weights.sizes)
    return GraphSignature(inputs, _read_values(graph.views("output")), files)


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
    """The initializers of a graph, and the files that they may lie in: those in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes: dict[str, int] = {}

    def check(self, tensor: Message) -> str:
        """The name of an initializer whose bytes are all there."""
        name = tensor.text("name")
        if "external_data" not in tensor:
            _check_inline(tensor)
            return name
        entries = [Message(_ENTRY, entry) for entry in tensor.views("external_data")]
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
        found = self._file_size(name, place["location"])
        if offset + length > found:
            raise ModelFileError(
                f"{shown(name)} ends at byte {offset + length} of {place['location']}, which has "
                f"only {found}: it is not all there"
            )
        return name

    def _file_size(self, name: str, location: str) -> int:
        if not _DATA_FILE.fullmatch(location):
            raise ModelFileError(
                f"{shown(name)} lies in {shown(location)}; only files beside the graph are read"
            )
        if location not in self.sizes:
            self.sizes[location] = check_place(self.folder, location).st_size
        return self.sizes[location]


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
        tensor_type = Message(_TENSOR_TYPE, Message(_TYPE, value.view("type")).view("tensor_type"))
        shape = Message(_SHAPE, tensor_type.view("shape"))
        axes = (_read_axis(Message(_DIMENSION, axis)) for axis in shape.views("dim"))
        found[name] = (tensor_type.integer("elem_type"), tuple(axes))
    return found


def _read_axis(axis: Message) -> int | str | None:
    if "dim_value" in axis:
        return axis.integer("dim_value")
    return axis.text("dim_param") or None
