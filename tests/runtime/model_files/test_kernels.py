"""Operators that end ONNX Runtime's process because a kernel does not look at what it gets."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper
from single_operators import single_operators

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.model_files import onnx_schema
from gptneo_onnx.runtime.model_files.graph_reader import Model
from gptneo_onnx.runtime.model_files.inference.limits import Limits
from gptneo_onnx.runtime.model_files.inference.operators import ADDRESSED, PORTABLE
from gptneo_onnx.runtime.model_files.inference.walk import Walk

ROW = np.ones(3, np.float32)
NO_CODES = np.zeros(0, np.uint8)
SCALE = np.float32(0.5)
CODES = np.ones((2, 32), np.uint8)


def check(model: ModelProto) -> Walk:
    limits = Limits(2**24, 2**26, 2**26, 2**32, 2**32)
    walk = Walk(PORTABLE, limits, lambda node, attributes: None, ADDRESSED)
    walk.run(Model(memoryview(model.SerializeToString()), onnx_schema.PORTABLE).graph(), {})
    return walk


def operator(name: str, inputs: list[Any], outputs: int = 1, **attributes: Any) -> ModelProto:
    """Return a graph of an operator; None leaves out an input."""
    names = ["" if array is None else f"i{at}" for at, array in enumerate(inputs)]
    results = ["y", *(f"y{at}" for at in range(1, outputs))]
    domain = next(domain for domain, operator in PORTABLE if operator == name)
    node = helper.make_node(name, names, results, domain=domain, **attributes)
    weights = [
        numpy_helper.from_array(np.asarray(array), each)
        for each, array in zip(names, inputs, strict=True)
        if each
    ]
    values = [ValueInfoProto(name=each) for each in results]
    return helper.make_model(helper.make_graph([node], "g", [], values, weights))


# In ONNX Runtime 1.32: SIGSEGV, SIGSEGV, SIGSEGV, SIGABRT and SIGFPE; the others read beyond their
# weights or divide by 0 in some release.
@pytest.mark.parametrize(
    ("model", "why"),
    [
        (operator("Mean", [ROW, None, ROW]), "Mean 'y' leaves out an input that it needs"),
        (
            operator("LayerNormalization", [ROW, ROW, None]),
            "LayerNormalization 'y' leaves out an input that it needs",
        ),
        (
            operator("LayerNormalization", [ROW[:0], np.float32(1)]),
            "LayerNormalization 'y' normalizes rows that may be empty",
        ),
        (
            operator("Split", [ROW], 3, axis=0, num_outputs=1),
            "Split 'y' has 3 results, and another number of parts",
        ),
        (
            operator("MatMulIntegerToFloat", [NO_CODES, NO_CODES, SCALE, SCALE]),
            "MatMulIntegerToFloat 'y' multiplies tensors that may be empty",
        ),
        (
            operator(
                "MatMulNBits", [np.ones((1, 32), np.float32), CODES, CODES],
                K=32, N=4, bits=4, block_size=16,
            ),
            "MatMulNBits 'y' has scales for another number of blocks",
        ),
        (
            operator(
                "MatMulNBits", [np.ones((1, 32), np.float32), CODES, CODES[0, :8]],
                K=32, N=4, bits=4, block_size=0,
            ),
            "MatMulNBits 'y' has blocks of 0 weights of 4 bits",
        ),
        (
            operator(
                "MatMulBnb4", [np.ones((1, 32), np.float32), CODES[0, :8], CODES[0, :8]],
                K=32, N=4, block_size=16,
            ),
            "MatMulBnb4 'y' has a weight or scales of another size than its blocks",
        ),
        (
            operator(
                "GatherBlockQuantized", [CODES, np.array([0]), CODES], block_size=0, bits=8
            ),
            "GatherBlockQuantized 'y' has blocks of 0 numbers of 8 bits",
        ),
        (
            operator("Concat", [np.float32(1), ROW], axis=0),
            "Concat 'y' counts to axis 0 of 0",
        ),
    ],
)  # fmt: skip
def test_what_a_kernel_does_not_look_at_is_refused(model: ModelProto, why: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        check(model)
    assert str(caught.value) == f"the operator {why}"


@pytest.mark.parametrize(
    "model", single_operators(), ids=lambda model: str(model.graph.node[0].op_type)
)
def test_each_operator_is_known(model: ModelProto) -> None:
    assert check(model).unbounded == []
