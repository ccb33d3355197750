"""Recognise which variant of the portable graph a file has, by its inputs and outputs.

Optimum has written GPT-Neo in several ways, all of which hubs still hold: for several tasks, with
and without position_ids, with and without past, and with both in one graph, selected by
`use_cache_branch`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.graph import (
    INPUT_IDS,
    LOGITS,
    POSITION_IDS,
    SEQLENS_K,
    CacheSpec,
    DataType,
    NumberFormat,
    Precision,
    TensorSpec,
)
from gptneo_onnx.models.manifest import MANIFEST_FILE
from gptneo_onnx.models.portable_graph import (
    ATTENTION_MASK,
    LAST_HIDDEN_STATE,
    START_LOGITS,
    USE_CACHE_BRANCH,
    portable_contract,
)
from gptneo_onnx.models.tasks import Head, Task
from gptneo_onnx.runtime.model_files.graph_values import Signature
from gptneo_onnx.runtime.model_files.inference.limits import least_weights
from gptneo_onnx.runtime.model_files.portable_check import GraphSignature

_FLOATS = {DataType.FLOAT32.onnx: DataType.FLOAT32, DataType.FLOAT16.onnx: DataType.FLOAT16}
_STEP_INPUTS = (INPUT_IDS, ATTENTION_MASK, POSITION_IDS, USE_CACHE_BRANCH)
_OPTIONAL = {POSITION_IDS, USE_CACHE_BRANCH}
_PRESENT = "present."


@dataclass(frozen=True)
class PortableInterface:
    """The inputs and outputs that a portable graph has of those that variants may have.

    Attributes:
        task: what the graph is for.
        results: names of the outputs of its head: logits, or start_logits and end_logits; none
            where it has no head.
        has_positions: whether it takes position_ids; a graph without counts a sequence's columns.
        has_cache_branch: whether it takes use_cache_branch.
        past: names of the cache inputs, layer by layer; empty where every step computes the whole
            sequence again.
        present: names of the cache outputs; a graph without past may have them, for a second graph
            to continue with.
        cache_type: element type of the caches.
        hidden_states: names of the outputs that hold them, by layer; see GraphContract.
    """

    task: Task
    results: tuple[str, ...]
    has_positions: bool
    has_cache_branch: bool
    past: tuple[str, ...]
    present: tuple[str, ...]
    cache_type: DataType
    hidden_states: Mapping[int, str]

    @classmethod
    def recognise(
        cls,
        path: Path,
        signature: GraphSignature,
        config: GPTNeoConfig,
        task: Task | None = None,
        architecture: str | None = None,
    ) -> "PortableInterface":
        """Return the interface of a graph with these inputs and outputs.

        Args:
            path: the graph's file, for messages.
            signature: its inputs and outputs.
            config: of the config.json beside it.
            task: what a manifest says that it is for; None without one.
            architecture: the class that config.json names, which decides where the outputs do not.

        Raises:
            ModelFileError: they are not those of the GPT-Neo that config.json describes.
        """
        if SEQLENS_K in signature.inputs:
            raise ModelFileError(
                f"{path} is a fused graph, whose {MANIFEST_FILE} is missing; fetch that as well, "
                "or export the checkpoint again"
            )
        try:
            return _recognise(signature, config, task or _task(signature, config, architecture))
        except ModelFileError as error:
            raise ModelFileError(
                f"{path}: {error}; export the checkpoint with gptneo-onnx export, or with "
                "optimum-cli export onnx"
            ) from error


def check_pair(
    directory: Path, names: Sequence[str], interfaces: Sequence[PortableInterface]
) -> None:
    """Raise ModelFileError unless the last graph can continue with what the first returns."""
    first, last = interfaces[0], interfaces[-1]
    if len(interfaces) == 2 and (not last.past or len(first.present) != len(last.past)):
        raise ModelFileError(
            f"{directory}: {names[1]} does not go on with what {names[0]} gives; export both "
            "with --task text-generation-with-past"
        )


def hidden_state_layers(interfaces: Sequence[PortableInterface]) -> tuple[int, ...]:
    """Return the layers whose hidden states all graphs of a model return."""
    layers = [set(interface.hidden_states) for interface in interfaces]
    return tuple(sorted(set.intersection(*layers)))


def _task(signature: GraphSignature, config: GPTNeoConfig, architecture: str | None) -> Task:
    """Return the task of another exporter's graph, by its outputs."""
    outputs = signature.outputs
    if START_LOGITS in outputs:
        return Task.QUESTION_ANSWERING
    if LOGITS not in outputs and LAST_HIDDEN_STATE in outputs:
        has_present = any(name.startswith(_PRESENT) for name in outputs)
        return Task.FEATURE_EXTRACTION_WITH_PAST if has_present else Task.FEATURE_EXTRACTION
    axes = outputs[LOGITS].axes if LOGITS in outputs else ()
    if len(axes) == 2:
        return Task.TEXT_CLASSIFICATION
    columns = axes[-1] if axes else None
    fits_labels = columns == config.labels.count or not isinstance(columns, int)
    fits_vocabulary = columns == config.vocab_size or not isinstance(columns, int)
    is_named = architecture == Head.TOKEN_CLASSIFICATION.value
    if fits_labels and (is_named or not fits_vocabulary):
        return Task.TOKEN_CLASSIFICATION
    has_past = any(name not in _STEP_INPUTS for name in signature.inputs)
    return Task.TEXT_GENERATION_WITH_PAST if has_past else Task.TEXT_GENERATION


def _recognise(signature: GraphSignature, config: GPTNeoConfig, task: Task) -> PortableInterface:
    numbers = NumberFormat.of(Precision.FP32)
    contract = portable_contract(config, numbers, range(config.num_layers + 1))
    results = portable_contract(config, numbers, task=task).results
    result_names = tuple(spec.name for spec in results)
    states = [spec.name for spec in contract.hidden_states.values()]
    inputs, outputs = signature.inputs, signature.outputs
    past, present = _caches(signature, contract.caches, [*result_names, *states])
    optional = {*states} if results else {*states} - {LAST_HIDDEN_STATE}
    _check_names("input", inputs, [*_STEP_INPUTS, *past], _OPTIONAL)
    _check_names("output", outputs, [*result_names, *states, *present], optional)
    if USE_CACHE_BRANCH in inputs and not past:
        raise ModelFileError(f"the graph has {USE_CACHE_BRANCH}, but no past_key_values")
    for name in _STEP_INPUTS:
        if name in inputs:
            _check_step_input(name, inputs[name])
    for spec in results:
        sizes = tuple(axis if isinstance(axis, int) else None for axis in spec.axes)
        _check_floats(spec.name, outputs[spec.name], sizes)
    for name in states:
        if name in outputs:
            _check_floats(name, outputs[name], (None, None, config.hidden_size))
    least = least_weights(config)
    if signature.weights < least:
        raise ModelFileError(
            f"config.json describes a GPT-Neo of {least} weights, the graph has {signature.weights}"
        )
    caches = [*(inputs[name] for name in past), *(outputs[name] for name in present)]
    return PortableInterface(
        task=task,
        results=result_names,
        has_positions=POSITION_IDS in inputs,
        has_cache_branch=USE_CACHE_BRANCH in inputs,
        past=past,
        present=present,
        cache_type=_cache_type(caches),
        hidden_states={layer: name for layer, name in enumerate(states) if name in outputs},
    )


def _caches(
    signature: GraphSignature, specs: Sequence[CacheSpec], others: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the cache inputs and of the cache outputs; `others` are no caches."""
    past: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    has_past = any(name not in _STEP_INPUTS for name in signature.inputs)
    if has_past:
        past = _cache_names("input", signature.inputs, [cache.past for cache in specs])
    if has_past or any(name not in others for name in signature.outputs):
        present = _cache_names("output", signature.outputs, [cache.present for cache in specs])
    return past, present


def _cache_type(caches: Sequence[Signature]) -> DataType:
    types = {cache.element_type for cache in caches}
    if len(types) > 1:
        raise ModelFileError("the graph's caches are of different types")
    return _FLOATS[types.pop()] if types else DataType.FLOAT32


def _cache_names(
    kind: str, signatures: Mapping[str, Signature], layers: list[tuple[TensorSpec, TensorSpec]]
) -> tuple[str, ...]:
    """Check that keys and values of all layers are there, and return their names."""
    specs = [spec for layer in layers for spec in layer]
    for spec in specs:
        if spec.name not in signatures:
            raise ModelFileError(
                f"the graph has no {kind} {spec.name}; a GPT-Neo of {len(layers)} layers has "
                f"{specs[0].name} to {specs[-1].name}, and this one's {kind}s are "
                f"{shown(list(signatures))}"
            )
        _, heads, _, head_dim = spec.axes
        _check_floats(spec.name, signatures[spec.name], (None, heads, None, head_dim))
    return tuple(spec.name for spec in specs)


def _check_names(
    kind: str, signatures: Mapping[str, Signature], expected: list[str], optional: set[str]
) -> None:
    for name in expected:
        if name not in signatures and name not in optional:
            raise ModelFileError(
                f"the graph has no {kind} {name}; its {kind}s are {shown(list(signatures))}"
            )
    if extra := sorted(signatures.keys() - set(expected)):
        raise ModelFileError(
            f"the graph has an unexpected {kind}: {shown(extra[0])}; a GPT-Neo's are "
            f"{', '.join(name for name in expected if '.' not in name)} and the caches"
        )


def _check_step_input(name: str, signature: Signature) -> None:
    data_type, rank = (DataType.BOOL, 1) if name == USE_CACHE_BRANCH else (DataType.INT64, 2)
    if (signature.element_type, len(signature.axes)) != (data_type.onnx, rank):
        raise ModelFileError(
            f"the input {name} has type {signature.element_type} and axes "
            f"{shown(list(signature.axes))}; {data_type.value} with {rank} of them is expected"
        )


def _check_floats(name: str, signature: Signature, sizes: tuple[int | str | None, ...]) -> None:
    """Check a tensor's type, its rank and those sizes that config.json and the graph both give."""
    if signature.element_type not in _FLOATS:
        raise ModelFileError(
            f"{name} has element type {signature.element_type}; float32 and float16 are run here "
            "(bfloat16: export with --graph fused)"
        )
    fits = len(signature.axes) == len(sizes) and all(
        size is None or not isinstance(axis, int) or axis == size
        for axis, size in zip(signature.axes, sizes, strict=True)
    )
    if not fits:
        raise ModelFileError(
            f"config.json makes {name} {['any' if s is None else s for s in sizes]}, "
            f"the graph has {shown(list(signature.axes))}"
        )
