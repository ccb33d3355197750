"""The bfloat16 graph, which ONNX Runtime runs on no CPU: its weights and its nodes are right.

To test the nodes, the graph is widened to float32, with the weights that it has.
"""

import ml_dtypes
import numpy as np
import onnx
import pytest
from checkpoints import Shape
from onnx import TensorProto, numpy_helper
from reference import ReferenceGPTNeo

from gptneo_onnx.export.check.stepper import GraphStepper
from gptneo_onnx.models import GPTNeoConfig, NumberFormat, Precision, fused_contract


@pytest.fixture
def exported(export_shape):
    return export_shape(Shape(tie_word_embeddings=False), "bf16")


def rounded(values):
    return values.astype(ml_dtypes.bfloat16).astype(np.float64)


def test_weights_are_rounded_to_the_nearest(exported):
    oracle = ReferenceGPTNeo.open(exported.parent / "checkpoint")
    initializers = onnx.load(exported / "model.onnx").graph.initializer
    assert {tensor.data_type for tensor in initializers} == {TensorProto.BFLOAT16}
    compared = 0
    for tensor in initializers:
        if tensor.name in oracle.checkpoint.tensors:
            expected = rounded(oracle.weight(tensor.name))
            array = numpy_helper.to_array(tensor).astype(np.float64)
            is_linear = array.ndim == 2 and ".h." in f".{tensor.name}"
            assert np.array_equal(array.T if is_linear else array, expected)
            compared += 1
    assert compared == len(initializers) - 2  # all but query, key and value, stored as one


def test_the_graph_widened_to_float32_gives_the_oracles_logits(exported, tmp_path, random):
    widened = onnx.load(exported / "model.onnx")
    for tensor in widened.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for value in (*widened.graph.input, *widened.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(widened, tmp_path / "widened.onnx")

    config = GPTNeoConfig.from_file(exported / "config.json")
    oracle = ReferenceGPTNeo.open(exported.parent / "checkpoint")
    for name in oracle.checkpoint.tensors:
        oracle.read[name] = rounded(oracle.weight(name))
    ids = random.integers(0, config.vocab_size, 40)
    stepper = GraphStepper.open(
        tmp_path / "widened.onnx", fused_contract(config, NumberFormat.of(Precision.FP32)), config
    )
    logits = np.concatenate([stepper.step(ids[start : start + 9]) for start in range(0, 40, 9)])
    expected = oracle.logits(ids)
    assert np.abs(logits - expected).max() < 1e-4 * expected.std()
