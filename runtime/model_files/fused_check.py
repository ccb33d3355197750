"""The check of a fused graph, which only we write, before ONNX Runtime sees it.

A model file is untrusted: ONNX Runtime follows references to external data, loads whatever
operators a graph names, and computes what depends on constants alone while it loads. What we write
is far narrower (models/fused_operators.py), so everything else is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.fused_operators import OperatorForm, fused_operators
from gptneo_onnx.models.graph import (
    SEQLENS_K,
    TOTAL_SEQUENCE_LENGTH,
    DataType,
    GraphContract,
    TensorSpec,
)
from gptneo_onnx.models.manifest import WEIGHTS_FILE
from gptneo_onnx.runtime.model_files import onnx_schema
from gptneo_onnx.runtime.model_files.graph_nodes import Attribute, Graph, Node
from gptneo_onnx.runtime.model_files.graph_reader import Model, Opset
from gptneo_onnx.runtime.model_files.graph_tensors import EXTERNAL, INLINE, Place, Tensor
from gptneo_onnx.runtime.model_files.graph_values import Axis, Signature, Value
from gptneo_onnx.runtime.model_files.inference.inputs import fused_inputs
from gptneo_onnx.runtime.model_files.inference.limits import Limits
from gptneo_onnx.runtime.model_files.inference.operators import PORTABLE
from gptneo_onnx.runtime.model_files.inference.walk import Walk

# A graph of 1024 layers has 4 MB.
MAX_GRAPH_BYTES = 16 * 1024 * 1024
MAX_DIMENSIONS = 8
# The operator domains that we write, each with its oldest and newest version.
DOMAINS = {"": (18, 21), "com.microsoft": (1, 1)}

# "checksum" and "prepacked_..." are known to ONNX Runtime too.
_PLACE_ENTRIES = {"location", "offset", "length"}
# Only portable graphs have the two others.
_ELEMENT_TYPES = {kind.onnx for kind in set(DataType) - {DataType.BOOL, DataType.UINT4}}


def check_fused_graph(
    path: Path,
    contract: GraphContract,
    config: GPTNeoConfig,
    weights_files: Sequence[str] = (WEIGHTS_FILE,),
) -> tuple[str, ...]:
    """Refuse a graph that is not as we write it; return the files that its weights lie in.

    Args:
        path: the graph.
        contract: its inputs and outputs.
        config: of the model that it is said to be.
        weights_files: the names of the files beside it that its weights may lie in.

    Raises:
        ModelFileError: it is too large or damaged; it has operators in other forms than we write,
            subgraphs or functions, external data that is not within those files, inputs and outputs
            other than the contract's, or results that are larger than a GPT-Neo's.
    """
    try:
        return _check(path, contract, config, weights_files)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}; export the checkpoint again") from error


def _check(
    path: Path, contract: GraphContract, config: GPTNeoConfig, weights_files: Sequence[str]
) -> tuple[str, ...]:
    size = path.stat().st_size
    if size > MAX_GRAPH_BYTES:
        raise ModelFileError(f"the graph has {size} bytes, at most {MAX_GRAPH_BYTES} are read")
    model = Model(memoryview(path.read_bytes()), onnx_schema.FUSED)
    domains = _check_opsets(model.opsets())
    graph = model.graph()
    files = {name: path.parent / name for name in weights_files}
    sizes = {name: file.stat().st_size if file.is_file() else 0 for name, file in files.items()}
    weights, used = _check_weights(graph.initializers(), sizes)
    _check_signatures("weight", weights, contract.tables)
    _check_values("input", graph.inputs(), contract.inputs)
    _check_values("output", graph.outputs(), contract.outputs)
    _check_operators(graph, _Operators(domains, contract, config), config)
    return tuple(name for name in weights_files if name in used)


def _check_opsets(opsets: Iterable[Opset]) -> set[str]:
    """Return the domains that are imported; refuse a domain or version that we do not write."""
    domains: set[str] = set()
    for opset in opsets:
        domain, version = opset.domain, opset.version
        oldest, newest = DOMAINS.get(domain, (0, -1))
        if not oldest <= version <= newest or domain in domains:
            raise ModelFileError(
                f"operators of {shown(domain or 'ai.onnx')} version {version} are not ours"
            )
        domains.add(domain)
    if "" not in domains:
        raise ModelFileError("the version of the standard operators is missing")
    return domains


def _check_weights(
    tensors: Iterable[Tensor], sizes: Mapping[str, int]
) -> tuple[dict[str, Signature], set[str]]:
    """Check every weight; return the signatures by name, and the files that weights lie in.

    `sizes` are the bytes of each file that they may lie in.
    """
    signatures: dict[str, Signature] = {}
    used: set[str] = set()
    for tensor in tensors:
        name = tensor.name
        if name in signatures:
            raise ModelFileError(f"there are two weights {shown(name)}")
        used |= _check_weight(tensor, shown(name), sizes)
        signatures[name] = Signature(tensor.element_type, tuple(tensor.dims))
    return signatures, used


def _check_weight(tensor: Tensor, name: str, sizes: Mapping[str, int]) -> set[str]:
    """Check a weight; return the file that it lies in, unless it is in the graph."""
    dims, raw_size = tensor.dims, tensor.raw_size
    if tensor.element_type not in _ELEMENT_TYPES or len(dims) > MAX_DIMENSIONS or 0 in dims:
        raise ModelFileError(f"{name} has a type or shape that no weight has")
    is_inline = raw_size is not None
    if tensor.data_location not in (INLINE, EXTERNAL) or tensor.has_place == is_inline:
        raise ModelFileError(f"{name} does not lie in one place")
    if tensor.has_place != (tensor.data_location == EXTERNAL):
        raise ModelFileError(f"{name} says that it lies elsewhere than it does")
    if raw_size is not None:
        tensor.check_size(raw_size)
        return set()
    place = _external_place(tensor, name, sizes)
    tensor.check_size(place.length)
    return {place.location}


def _external_place(tensor: Tensor, name: str, sizes: Mapping[str, int]) -> Place:
    """Return where a weight lies, and check that all of its bytes are there."""
    place = tensor.place(_PLACE_ENTRIES, frozenset())
    if place.location not in sizes:
        raise ModelFileError(
            f"{name} lies in {shown(place.location)}; only {', '.join(sizes)} is read"
        )
    end = place.offset + place.length
    if end > sizes[place.location]:
        raise ModelFileError(
            f"{name} ends at byte {end} of {place.location}, which has {sizes[place.location]}"
        )
    return place


class _Operators:
    """The operators that a fused graph of a config may have."""

    def __init__(self, domains: set[str], contract: GraphContract, config: GPTNeoConfig) -> None:
        self.domains = domains
        self.contract = contract
        self.forms: dict[tuple[str, str], list[OperatorForm]] = {}
        for form in fused_operators(config):
            self.forms.setdefault((form.domain, form.operator), []).append(form)
        lengths = [SEQLENS_K, TOTAL_SEQUENCE_LENGTH]
        self.attention = {
            cache.past_key.name: (
                [*(spec.name for spec in cache.past), *lengths],
                [spec.name for spec in cache.present],
            )
            for cache in contract.caches
        }

    def check(self, node: Node, attributes: Mapping[str, Attribute]) -> None:
        """Refuse an operator that is in no form that we write."""
        domain, operator = node.domain, node.operator
        if domain not in self.domains:
            raise ModelFileError(f"an operator of the domain {shown(domain)} is not ours")
        forms = self.forms.get((domain, operator))
        if forms is None:
            raise ModelFileError(f"the operator {shown(operator)} is in no fused graph")
        inputs, outputs = node.inputs, node.outputs
        if not any(_has_form(inputs, outputs, attributes, form) for form in forms):
            raise ModelFileError(
                f"the operator {operator} {shown(outputs)} has {len(inputs)} inputs, "
                f"{len(outputs)} outputs and the attributes {shown(sorted(attributes))}, which is "
                "no form of it that is in fused graphs of this config.json"
            )
        if operator == "GroupQueryAttention":
            self._check_attention(inputs, outputs)

    def _check_attention(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Refuse caches and lengths that are not a layer's own: these address memory."""
        caches_and_lengths, presents = self.attention.get(inputs[3], ([], []))
        if [*inputs[1:]] != ["", "", *caches_and_lengths] or [*outputs[1:]] != presents:
            raise ModelFileError(
                f"the operator GroupQueryAttention {shown(outputs[0])} has not the caches and "
                "lengths of a layer"
            )


def _has_form(
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Mapping[str, Attribute],
    form: OperatorForm,
) -> bool:
    if (len(inputs), len(outputs)) != (form.inputs, form.outputs):
        return False
    if attributes.keys() != form.attributes.keys():
        return False
    for name, attribute in attributes.items():
        kind, values = form.attributes[name].kind, form.attributes[name].values
        if attribute.kind != kind or (values is not None and attribute.integer not in values):
            return False
    return True


def _check_operators(graph: Graph, operators: _Operators, config: GPTNeoConfig) -> None:
    """Refuse operators that we do not write, and results that are too large or not known."""
    walk = Walk(PORTABLE, Limits.of(config), operators.check, folds=False)
    walk.run(graph, fused_inputs(config, operators.contract))
    if walk.unbounded:
        raise ModelFileError(f"{walk.unbounded[0]} has results whose sizes are not known")


def _check_values(kind: str, values: Mapping[str, Value], specs: tuple[TensorSpec, ...]) -> None:
    _check_signatures(kind, {name: _signature(value) for name, value in values.items()}, specs)
    extra = sorted(values.keys() - {spec.name for spec in specs})
    if extra:
        raise ModelFileError(f"the graph has an unexpected {kind}: {shown(extra[0])}")


def _check_signatures(
    kind: str, signatures: Mapping[str, Signature], specs: tuple[TensorSpec, ...]
) -> None:
    for spec in specs:
        signature = signatures.get(spec.name)
        if signature != Signature(spec.data_type.onnx, spec.axes):
            found = None if signature is None else (signature.element_type, signature.axes)
            raise ModelFileError(
                f"config.json makes the {kind} {spec.name} {spec.data_type.value} "
                f"{list(spec.axes)}, the graph has {shown(found)}"
            )


def _signature(value: Value) -> Signature:
    tensor_type = value.tensor_type()
    if tensor_type.axes is None:  # of unknown rank, which is not a scalar
        raise ModelFileError(f"{shown(value.name)} has no shape")
    return Signature(tensor_type.element_type, tuple(map(_size_or_name, tensor_type.axes)))


def _size_or_name(axis: Axis) -> int | str:
    size, name = axis.size, axis.name
    if size is not None and name is None:
        return size
    if name is not None and size is None:
        return name
    raise ModelFileError("an axis has no size, or two")
