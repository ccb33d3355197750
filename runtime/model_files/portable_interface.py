"""Which of the portable graph's variants a file is: recognised by what it takes and gives.

Optimum has written GPT-Neo in several ways, all of which hubs still hold: with and without
position_ids, with and without past, and with both in one graph, behind `use_cache_branch`.
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
    DataType,
    NumberFormat,
    Precision,
    TensorSpec,
)
from gptneo_onnx.models.manifest import MANIFEST_FILE
from gptneo_onnx.models.portable_graph import ATTENTION_MASK, USE_CACHE_BRANCH, portable_contract
from gptneo_onnx.runtime.model_files.portable_check import GraphSignature, Signature

_FLOATS = {DataType.FLOAT32.onnx: DataType.FLOAT32, DataType.FLOAT16.onnx: DataType.FLOAT16}
_STEP_INPUTS = (INPUT_IDS, ATTENTION_MASK, POSITION_IDS, USE_CACHE_BRANCH)
_OPTIONAL = {POSITION_IDS, USE_CACHE_BRANCH}


@dataclass(frozen=True)
class PortableInterface:
    """What a step of a portable graph needs, and what comes of it.

    Attributes:
        has_positions: whether it takes position_ids; without them a sequence's columns count.
        has_cache_branch: whether an input says if the past is to be used.
        past: the caches' inputs, layer by layer; empty where every step computes all anew.
        present: their outputs; there may be some without past, for a second graph to begin with.
        cache_type: elements of the caches.
        hidden_states: the outputs that hold them, by layer; see GraphContract.
    """

    has_positions: bool
    has_cache_branch: bool
    past: tuple[str, ...]
    present: tuple[str, ...]
    cache_type: DataType
    hidden_states: Mapping[int, str]

    @classmethod
    def recognise(
        cls, path: Path, signature: GraphSignature, config: GPTNeoConfig
    ) -> "PortableInterface":
        """The variant that a graph's inputs and outputs make it.

        Raises:
            ModelFileError: they are not those of a GPT-Neo as config.json describes it.
        """
        if SEQLENS_K in signature.inputs:
            raise ModelFileError(
                f"{path} is a fused graph, whose {MANIFEST_FILE} is missing; fetch that as well, "
                "or export the checkpoint again"
            )
        try:
            return _recognised(signature, config)
        except ModelFileError as error:
            raise ModelFileError(
                f"{path}: {error}; export the checkpoint with gptneo-onnx export, or with "
                "optimum-cli export onnx --task text-generation-with-past"
            ) from error


def check_pair(
    directory: Path, names: Sequence[str], interfaces: Sequence[PortableInterface]
) -> None:
    """Raise ModelFileError unless the last graph can go on with what the first gives."""
    first, last = interfaces[0], interfaces[-1]
    if len(interfaces) == 2 and (not last.past or len(first.present) != len(last.past)):
        raise ModelFileError(
            f"{directory}: {names[1]} does not go on with what {names[0]} gives; export both "
            "with --task text-generation-with-past"
        )


def given_layers(interfaces: Sequence[PortableInterface]) -> tuple[int, ...]:
    """The layers whose hidden states every one of a model's graphs gives."""
    given = [set(interface.hidden_states) for interface in interfaces]
    return tuple(sorted(set.intersection(*given)))


def _recognised(signature: GraphSignature, config: GPTNeoConfig) -> PortableInterface:
    every_layer = range(config.num_layers + 1)
    contract = portable_contract(config, NumberFormat.of(Precision.FP32), every_layer)
    caches, states = contract.caches, [spec.name for spec in contract.hidden_states.values()]
    inputs, outputs = signature.inputs, signature.outputs
    pasts = [name for name in inputs if name not in _STEP_INPUTS]
    past = _cache_tensors("input", inputs, [each.past for each in caches], bool(pasts))
    presents = bool(pasts) or any(name not in (LOGITS, *states) for name in outputs)
    present = _cache_tensors("output", outputs, [each.present for each in caches], presents)
    _check_names("input", inputs, [*_STEP_INPUTS, *past], _OPTIONAL)
    _check_names("output", outputs, [LOGITS, *states, *present], set(states))
    if USE_CACHE_BRANCH in inputs and not past:
        raise ModelFileError(f"the graph has {USE_CACHE_BRANCH}, but no past_key_values")
    for name in _STEP_INPUTS:
        if name in inputs:
            _check_step_input(name, inputs[name])
    _check_floats(LOGITS, outputs[LOGITS], (None, None, config.vocab_size))
    for name in states:
        if name in outputs:
            _check_floats(name, outputs[name], (None, None, config.hidden_size))
    types = {inputs[name][0] for name in past} | {outputs[name][0] for name in present}
    if len(types) > 1:
        raise ModelFileError("the graph's caches are of different types")
    return PortableInterface(
        POSITION_IDS in inputs,
        USE_CACHE_BRANCH in inputs,
        past,
        present,
        _FLOATS[types.pop()] if types else DataType.FLOAT32,
        {layer: name for layer, name in enumerate(states) if name in outputs},
    )


def _cache_tensors(
    kind: str,
    found: Mapping[str, Signature],
    layers: "list[tuple[TensorSpec, TensorSpec]]",
    are_there: bool,
) -> tuple[str, ...]:
    """The names of all layers' keys and values, if there are any."""
    if not are_there:
        return ()
    specs = [spec for layer in layers for spec in layer]
    for spec in specs:
        if spec.name not in found:
            raise ModelFileError(
                f"the graph has no {kind} {spec.name}; a GPT-Neo of {len(layers)} layers has "
                f"{specs[0].name} to {specs[-1].name}, and this one's {kind}s are "
                f"{shown(list(found))}"
            )
        _, heads, _, head_dim = spec.axes
        _check_floats(spec.name, found[spec.name], (None, heads, None, head_dim))
    return tuple(spec.name for spec in specs)


def _check_names(
    kind: str, found: Mapping[str, Signature], expected: list[str], optional: set[str]
) -> None:
    for name in expected:
        if name not in found and name not in optional:
            raise ModelFileError(
                f"the graph has no {kind} {name}; its {kind}s are {shown(list(found))}"
            )
    if extra := sorted(found.keys() - set(expected)):
        raise ModelFileError(
            f"the graph has an unexpected {kind}: {shown(extra[0])}; a GPT-Neo's are "
            f"{', '.join(name for name in expected if '.' not in name)} and the caches"
        )


def _check_step_input(name: str, signature: Signature) -> None:
    expected = (DataType.BOOL, 1) if name == USE_CACHE_BRANCH else (DataType.INT64, 2)
    if (signature[0], len(signature[1])) != (expected[0].onnx, expected[1]):
        raise ModelFileError(
            f"the input {name} has type {signature[0]} and axes {shown(list(signature[1]))}; "
            f"{expected[0].value} with {expected[1]} of them is expected"
        )


def _check_floats(name: str, signature: Signature, sizes: "tuple[int | str | None, ...]") -> None:
    """Axes that the graph gives in numbers have to be config.json's."""
    element, axes = signature
    if element not in _FLOATS:
        raise ModelFileError(
            f"{name} has element type {element}; float32 and float16 are run here "
            "(bfloat16: export with --graph fused)"
        )
    fits = len(axes) == len(sizes) and all(
        size is None or not isinstance(axis, int) or axis == size
        for axis, size in zip(axes, sizes, strict=True)
    )
    if not fits:
        raise ModelFileError(
            f"config.json makes {name} {['any' if s is None else s for s in sizes]}, "
            f"the graph has {shown(list(axes))}"
        )
