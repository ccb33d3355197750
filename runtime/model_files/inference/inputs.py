"""What is known of a graph's inputs before it runs: their axes, for one text within the context."""

from collections.abc import Mapping

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import (
    BATCH,
    CAPACITY,
    INPUT_IDS,
    POSITION_IDS,
    ROWS,
    SEQUENCE,
    GraphContract,
)
from gptneo_onnx.models.portable_graph import ATTENTION_MASK
from gptneo_onnx.runtime.model_files.graph_values import Signature
from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.sizes import Number
from gptneo_onnx.runtime.model_files.inference.values import MAX_AXES, UNKNOWN, Value, value


def fused_inputs(config: GPTNeoConfig, contract: GraphContract) -> dict[str, Value]:
    """Return what is known of the inputs of a fused graph, by name."""
    context = config.max_position_embeddings
    named = {
        BATCH: sizes.axis(BATCH, 1, 1),
        SEQUENCE: sizes.axis(sizes.SEQUENCE, 1, context),
        ROWS: sizes.axis(ROWS, 1, context),
        CAPACITY: sizes.axis(CAPACITY, 1, context),
    }
    return {
        spec.name: value(
            spec.data_type.onnx,
            tuple(each if isinstance(each, int) else named[each] for each in spec.axes),
        )
        for spec in contract.inputs
    }


def portable_inputs(config: GPTNeoConfig, signatures: Mapping[str, Signature]) -> dict[str, Value]:
    """Return what is known of the inputs of a portable graph, by name.

    An axis that the graph gives a size has that size.
    """
    context = config.max_position_embeddings
    batch = sizes.axis(BATCH, 1, 1)
    sequence = sizes.axis(sizes.SEQUENCE, 1, context)
    past = sizes.axis(sizes.PAST, 0, context - 1)
    has_past = any(len(signature.axes) == 4 for signature in signatures.values())
    seen = sizes.add(past, sequence) if has_past else sequence
    roles: dict[str, tuple[Number, ...]] = {
        INPUT_IDS: (batch, sequence),
        POSITION_IDS: (batch, sequence),
        ATTENTION_MASK: (batch, seen),
    }
    cache = batch, config.num_heads, past, config.head_dim
    return {
        name: _known(signature, roles.get(name, cache if len(signature.axes) == 4 else (1,)))
        for name, signature in signatures.items()
    }


def _known(signature: Signature, role: tuple[Number, ...]) -> Value:
    axes = signature.axes
    if len(axes) > MAX_AXES or len(axes) != len(role):
        return UNKNOWN  # no input that a GPT-Neo has: it is refused by name
    dims = tuple(
        size if isinstance(size, int) else by_role for size, by_role in zip(axes, role, strict=True)
    )
    return value(signature.element_type, dims)
