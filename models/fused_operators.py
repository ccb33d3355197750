"""The operators of fused graphs, declared once: what the exporter writes, and what is read.

A form is an operator with its attributes and its numbers of inputs and outputs. An operator that is
written in several ways has several forms. What follows from the config is checked by its value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import ACTIVATION_NAMES, LEAST_BLOCK

MICROSOFT = "com.microsoft"
# Numbers in onnx.AttributeProto.AttributeType.
FLOAT_KIND, INTEGER_KIND = 1, 2
# The most weights that share a scale.
_MOST_BLOCK = 128


@dataclass(frozen=True)
class AttributeForm:
    """An attribute: its kind and, of whole numbers, the values that it may have; None for any."""

    kind: int
    values: tuple[int, ...] | None = None


@dataclass(frozen=True)
class OperatorForm:
    """An operator of a domain, with its numbers of inputs and outputs and all of its attributes."""

    operator: str
    inputs: int
    outputs: int = 1
    attributes: Mapping[str, AttributeForm] = field(default_factory=dict)
    domain: str = ""


def _integer(*values: int) -> AttributeForm:
    return AttributeForm(INTEGER_KIND, values or None)


_NUMBER = AttributeForm(FLOAT_KIND)


def fused_operators(config: GPTNeoConfig) -> Sequence[OperatorForm]:
    """Return the forms of the operators that fused graphs of a config may have."""
    return (*_STANDARD, *_MICROSOFT, *_attention(config))


_BLOCKS = tuple(block for power in range(12) if LEAST_BLOCK <= (block := 2**power) <= _MOST_BLOCK)
_STANDARD = (
    OperatorForm("Abs", 1),
    OperatorForm("Add", 2),
    OperatorForm("Cast", 1, attributes={"to": _integer(*(kind.onnx for kind in ACTIVATION_NAMES))}),
    OperatorForm("Clip", 3),
    OperatorForm("Concat", 2, attributes={"axis": _integer(0)}),
    OperatorForm("Erf", 1),
    OperatorForm("Expand", 2),
    OperatorForm("Gather", 2),
    OperatorForm("GatherND", 2),
    OperatorForm("Gelu", 1),
    OperatorForm("Gemm", 2, attributes={"transB": _integer(1)}),
    OperatorForm("Gemm", 3, attributes={"transB": _integer(1)}),
    OperatorForm("Identity", 1),
    OperatorForm("LayerNormalization", 3, attributes={"epsilon": _NUMBER}),
    OperatorForm("LeakyRelu", 1, attributes={"alpha": _NUMBER}),
    OperatorForm("MatMul", 2),
    OperatorForm("Max", 2),
    OperatorForm("Mul", 2),
    OperatorForm("QuantizeLinear", 3, attributes={"axis": _integer(0)}),
    OperatorForm("ReduceMax", 2, attributes={"keepdims": _integer(0)}),
    OperatorForm("Relu", 1),
    OperatorForm("Reshape", 2),
    OperatorForm("Shape", 1),
    OperatorForm("Sigmoid", 1),
    OperatorForm("Slice", 4),
    OperatorForm("Softplus", 1),
    OperatorForm("Sub", 2),
    OperatorForm("Tanh", 1),
)
_BLOCK_WEIGHTS = {
    "K": _integer(),
    "N": _integer(),
    "bits": _integer(4, 8),
    "block_size": _integer(*_BLOCKS),
    "accuracy_level": _integer(4),
}
_BLOCK_ROWS = {
    "bits": _integer(8),
    "block_size": _integer(*_BLOCKS),
    "gather_axis": _integer(0),
    "quantize_axis": _integer(1),
}
_MICROSOFT = (
    OperatorForm("BiasGelu", 2, domain=MICROSOFT),
    OperatorForm("FastGelu", 2, domain=MICROSOFT),
    OperatorForm("GatherBlockQuantized", 3, attributes=_BLOCK_ROWS, domain=MICROSOFT),
    OperatorForm("MatMulIntegerToFloat", 5, domain=MICROSOFT),
    OperatorForm("MatMulNBits", 3, attributes=_BLOCK_WEIGHTS, domain=MICROSOFT),
    OperatorForm("MatMulNBits", 4, attributes=_BLOCK_WEIGHTS, domain=MICROSOFT),
    OperatorForm("QuickGelu", 1, attributes={"alpha": _NUMBER}, domain=MICROSOFT),
    OperatorForm("SkipLayerNormalization", 5, 4, attributes={"epsilon": _NUMBER}, domain=MICROSOFT),
)


def _attention(config: GPTNeoConfig) -> tuple[OperatorForm, OperatorForm]:
    """Return the forms of attention in global and in local layers."""
    heads = _integer(config.num_heads)
    attributes = {"num_heads": heads, "kv_num_heads": heads, "scale": _NUMBER}
    attributes["do_rotary"] = _integer(0)
    window = {
        "local_window_size": _integer(config.window_capacity),
        "sliding_window_cache": _integer(1),
    }
    name = "GroupQueryAttention"
    return (
        OperatorForm(name, 7, 3, attributes, MICROSOFT),
        OperatorForm(name, 7, 3, {**attributes, **window}, MICROSOFT),
    )
