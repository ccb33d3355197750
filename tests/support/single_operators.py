"""A small graph of each operator that portable graphs may have, computed from constants."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from gptneo_onnx.runtime.model_files.inference.operators import ADDRESSED, MICROSOFT, PORTABLE

Array = NDArray[Any]

X = np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3)
ROW = np.ones(3, np.float32)
WHOLE = np.arange(6).reshape(2, 3)
YES = np.array([[True, False, True]] * 2)
CODES = np.arange(6, dtype=np.uint8).reshape(2, 3)
SCALE, ZERO = np.float32(0.5), np.uint8(3)
_QUANTIZED = [CODES, SCALE, ZERO]


def numbers(*values: int) -> Array:
    return np.array(values, np.int64)


# Inputs by operator, and attributes; those that are not here take X alone.
_INPUTS: dict[str, list[Any]] = {
    **{key: [X, ROW] for key in ("Add", "Mul", "Sub", "Max", "Min", "Mean", "Sum", "Pow", "PRelu")},
    **{key: [WHOLE, numbers(2, 3, 4)] for key in ("Div", "Mod")},
    **{key: [X, ROW] for key in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")},
    **{key: [YES, YES] for key in ("And", "Or", "Xor")},
    **{key: [X, ROW] for key in ("BiasGelu", "FastGelu")},
    **{key: [X, ROW] for key in ("SimplifiedLayerNormalization", "RMSNormalization")},
    **{key: [X, X.T] for key in ("MatMul", "Gemm", "FusedMatMul", "TransposeMatMul", "FusedGemm")},
    **{key: [*_QUANTIZED, *_QUANTIZED, SCALE, ZERO] for key in ("QLinearAdd", "QLinearMul")},
    **{key: [X] for key in ("Size", "Shape", "Flatten", "NonZero", "EyeLike")},
    "CastLike": [X, WHOLE],
    "Clip": [X, np.float32(0), np.float32(1)],
    "ConstantOfShape": [numbers(2, 3)],
    "CumSum": [X, np.int64(1)],
    "DequantizeLinear": _QUANTIZED,
    "DynamicQuantizeMatMul": [X, CODES.T, SCALE, ZERO],
    "Expand": [ROW, numbers(2, 3)],
    "Gather": [X, numbers(1, 0)],
    "GatherElements": [X, numbers(1, 0).reshape(1, 2)],
    "GatherND": [X, numbers(1, 0).reshape(1, 2)],
    "GatherBlockQuantized": [
        np.ones((4, 32), np.uint8), numbers(1, 3), np.ones((4, 2), np.float32),
    ],
    "LayerNormalization": [X, ROW, ROW],
    "MatMulBnb4": [
        np.ones((2, 32), np.float32), np.ones(64, np.uint8), np.ones(8, np.float32),
    ],
    "MatMulInteger": [CODES, CODES.T],
    "MatMulIntegerToFloat": [CODES, CODES.T, SCALE, SCALE],
    "MatMulNBits": [
        np.ones((2, 32), np.float32), np.ones((4, 2, 8), np.uint8), np.ones((4, 2), np.float32),
    ],
    "Not": [YES],
    "OneHot": [WHOLE, np.int64(4), numbers(0, 1)],
    "Pad": [X, numbers(0, 1, 1, 0)],
    "QGemm": [CODES, SCALE, ZERO, CODES.T.copy(), SCALE, ZERO],
    "QLinearMatMul": [*_QUANTIZED, CODES.T, SCALE, ZERO, SCALE, ZERO],
    "QuantizeLinear": [X, SCALE, ZERO],
    "Range": [np.int64(1), np.int64(9), np.int64(2)],
    "Reshape": [X, numbers(3, -1)],
    "ScatterElements": [X, numbers(1, 0).reshape(1, 2), X[:1, :2]],
    "ScatterND": [X, numbers(1, 0).reshape(2, 1), X],
    "SkipLayerNormalization": [X[None], X[None], ROW, ROW, ROW],
    "SkipSimplifiedLayerNormalization": [X[None], X[None], ROW],
    "Slice": [X, numbers(0), numbers(2), numbers(1)],
    "Split": [WHOLE],
    "Squeeze": [X[None], numbers(0)],
    "Tile": [X, numbers(2, 1)],
    "TopK": [X, numbers(2)],
    "Unsqueeze": [X, numbers(0)],
    "Where": [YES, X, X],
}  # fmt: skip
_BLOCKS = {"K": 32, "N": 4, "block_size": 16}
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Cast": {"to": TensorProto.INT64},
    "Concat": {"axis": 1},
    "Constant": {"value": numpy_helper.from_array(numbers(1, 2))},
    "FusedGemm": {"activation": "Relu"},
    "GatherBlockQuantized": {"bits": 8, "block_size": 16, "quantize_axis": 1},
    "MatMulBnb4": {**_BLOCKS, "quant_type": 0},
    "MatMulNBits": {**_BLOCKS, "bits": 4},
    "Split": {"axis": 0, "num_outputs": 2},
}
_OUTPUTS = {"DynamicQuantizeLinear": 3, "Split": 2, "TopK": 2}


def single_operators() -> list[ModelProto]:
    """Return a graph of each operator, but of those that are loaded in a process of their own."""
    return [_model(*key) for key in sorted(PORTABLE) if key[1] not in ADDRESSED]


def _model(domain: str, operator: str) -> ModelProto:
    inputs = [] if operator == "Constant" else _INPUTS.get(operator, [X])
    names = [f"input{place}" for place in range(len(inputs))]
    outputs = [f"output{place}" for place in range(_OUTPUTS.get(operator, 1))]
    attributes = _ATTRIBUTES.get(operator, {})
    node = helper.make_node(operator, names, outputs, domain=domain, **attributes)
    weights = [
        numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name)
        for name, array in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph([node], "g", [], [ValueInfoProto(name=n) for n in outputs], weights)
    opset = 23 if operator == "RMSNormalization" else 21
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
