"""The check of a portable graph, whoever wrote it, before ONNX Runtime sees it.

Other exporters write more than fused_check.py allows: constants as attributes, the two subgraphs
of an If, types of the tensors between operators. What could do harm is refused all the same:
weights that are neither in the graph's file nor within a file beside it, functions, loops, options
for the session, operators other than those of inference/operators.py, divisions that could end the
process, and results that are larger than any of a GPT-Neo.
"""

import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.runtime.model_files import onnx_schema
from gptneo_onnx.runtime.model_files.graph_nodes import Attribute, Graph, Node
from gptneo_onnx.runtime.model_files.graph_reader import Model
from gptneo_onnx.runtime.model_files.graph_tensors import EXTERNAL, Tensor
from gptneo_onnx.runtime.model_files.graph_values import Axis, Signature, Value
from gptneo_onnx.runtime.model_files.inference.inputs import portable_inputs
from gptneo_onnx.runtime.model_files.inference.limits import Limits
from gptneo_onnx.runtime.model_files.inference.operators import ADDRESSED, IF, PORTABLE
from gptneo_onnx.runtime.model_files.inference.walk import Walk
from gptneo_onnx.runtime.model_files.paths import check_inside

# Protobuf's own limit: weights may be in the graph's file.
MAX_GRAPH_BYTES = 2**31 - 1

# The model may import other domains, as tools do without using them: ONNX Runtime knows which it
# has.
_OPERATOR_DOMAINS = ("", "ai.onnx", "com.microsoft")
# Tools of ONNX Runtime write its settings under this key, and it can be told to follow them.
_SESSION_OPTIONS = "ort_config"
_DATA_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class GraphSignature:
    """The inputs and outputs of a graph by name.

    Attributes:
        data_files: the files that hold weights, besides the graph's own.
        weights: the most weights that they and the graph hold.
        unbounded: describes the operators of which it is not known what they take, as that depends
            on numbers that are computed.
    """

    inputs: Mapping[str, Signature]
    outputs: Mapping[str, Signature]
    data_files: tuple[Path, ...]
    weights: int
    unbounded: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class _End:
    """The byte after the last weight of a data file, and that weight's name."""

    byte: int
    weight: str


def check_portable_graph(
    path: Path,
    config: GPTNeoConfig,
    *,
    hashed: bool = False,
    content: memoryview | None = None,
) -> GraphSignature:
    """Refuse a graph that could do harm, and return the signature of any other.

    Args:
        path: the graph.
        config: of the model that it is said to be, which bounds what it may take.
        hashed: whether a manifest says what its files hold; see check_inside.
        content: the graph's bytes, of whoever has opened it; by default the file is read.

    Raises:
        ModelFileError: it is too large or damaged; it has foreign operators, functions or loops,
            or weights that are not where it says; its results are larger than a GPT-Neo's, or could
            end the process.
    """
    try:
        model = Model(_content(path, content), onnx_schema.PORTABLE)
        graph = model.graph()
        _check_model(model)
        weights, ends = _check_weights(graph)
        inputs, outputs = _signatures(graph.inputs()), _signatures(graph.outputs())
        # Old exporters list every weight among the inputs, too.
        inputs = {name: signature for name, signature in inputs.items() if name not in weights}
        walk = Walk(PORTABLE, Limits.of(config), _check_node, ADDRESSED)
        walk.run(graph, portable_inputs(config, inputs))
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}; fetch or export the model again") from error
    data_files = _check_data_files(path.parent, ends, hashed)
    return GraphSignature(inputs, outputs, data_files, walk.stored, tuple(walk.unbounded))


def _content(path: Path, content: memoryview | None) -> memoryview:
    size = path.stat().st_size if content is None else len(content)
    if not 0 < size <= MAX_GRAPH_BYTES:
        raise ModelFileError(f"the graph has {size} bytes; 1 to {MAX_GRAPH_BYTES} are read")
    if content is not None:
        return content
    with path.open("rb") as file:
        # Closed with the last view of it: weights in the graph's file are never copied.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _check_model(model: Model) -> None:
    for _ in model.opsets():
        pass  # reading one refuses what is damaged
    if _SESSION_OPTIONS in model.metadata_keys():
        raise ModelFileError("the model brings options for the session")


def _check_weights(graph: Graph) -> tuple[set[str], dict[str, _End]]:
    """Check the initializers; return their names, and the end of each data file's last one."""
    names: set[str] = set()
    ends: dict[str, _End] = {}
    for tensor in graph.initializers():
        name = tensor.name
        names.add(name)
        if not tensor.has_place:
            _check_inline(tensor)
            continue
        place = tensor.place({"location"}, {"offset", "length", "checksum"})
        tensor.check_size(place.length)
        if not _DATA_FILE.fullmatch(place.location):
            raise ModelFileError(
                f"{shown(name)} lies in {shown(place.location)}; "
                "only files beside the graph are read"
            )
        end = _End(place.offset + place.length, name)
        ends[place.location] = max(end, ends.get(place.location, end))
    return names, ends


def _check_inline(tensor: Tensor) -> None:
    """Check a weight or constant that has to lie in the graph's file."""
    if tensor.has_place or tensor.data_location == EXTERNAL:
        raise ModelFileError(f"the constant {shown(tensor.name)} lies in another file")
    if tensor.raw_size is not None:
        tensor.check_size(tensor.raw_size)


def _check_node(node: Node, attributes: Mapping[str, Attribute]) -> None:
    operator, domain = node.operator, node.domain
    if domain not in _OPERATOR_DOMAINS:
        raise ModelFileError(
            f"the operator {shown(operator)} is of the domain {shown(domain)}; "
            "those of ONNX and com.microsoft are run"
        )
    for attribute in attributes.values():
        constant, branch = attribute.tensor, attribute.graph
        if constant is not None:
            _check_inline(constant)
        if branch is not None:
            if operator != IF:
                raise ModelFileError(f"the operator {shown(operator)} holds a graph")
            for tensor in branch.initializers():
                _check_inline(tensor)


def _check_data_files(folder: Path, ends: Mapping[str, _End], hashed: bool) -> tuple[Path, ...]:
    """Return the data files; raise ModelFileError if one ends before its last weight does."""
    for name, end in ends.items():
        size = check_inside(folder, name, hashed=hashed).st_size
        if end.byte > size:
            raise ModelFileError(
                f"{folder / name} has {size} bytes, and {shown(end.weight)} ends at {end.byte}: "
                "it is not all there; fetch it again"
            )
    return tuple(folder / name for name in sorted(ends))


def _signatures(values: Mapping[str, Value]) -> dict[str, Signature]:
    signatures = {}
    for name, value in values.items():
        tensor_type = value.tensor_type()
        axes = tuple(map(_size_or_name, tensor_type.axes or ()))
        signatures[name] = Signature(tensor_type.element_type, axes)
    return signatures


def _size_or_name(axis: Axis) -> int | str | None:
    return axis.name or None if axis.size is None else axis.size
