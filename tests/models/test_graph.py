"""The graph contracts: names, element types and axes."""

import numpy as np
import onnx
import pytest
from checkpoints import Shape

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.genai_graph import genai_contract
from gptneo_onnx.models.graph import (
    DataType,
    GraphContract,
    NumberFormat,
    Precision,
    fused_contract,
)
from gptneo_onnx.models.portable_graph import portable_contract


def contract(shape: Shape | None = None, precision: Precision = Precision.FP32) -> GraphContract:
    return fused_contract(
        GPTNeoConfig.from_dict((shape or Shape()).config), NumberFormat.of(precision)
    )


def signatures(specs: tuple) -> list[tuple]:
    return [(spec.name, spec.data_type.value, spec.axes) for spec in specs]


def test_the_fused_graph_takes_a_step_of_new_tokens() -> None:
    assert signatures(contract().step_inputs) == [
        ("input_ids", "int64", ("batch", "sequence")),
        ("position_ids", "int64", ("batch", "sequence")),
        ("seqlens_k", "int32", ("batch",)),
        ("total_sequence_length", "int32", ()),
        ("logits_rows", "int64", ("rows", 2)),
    ]


def test_the_fused_graph_makes_logits_where_asked_and_the_last_hidden_states() -> None:
    assert signatures(contract().outputs)[:2] == [
        ("logits", "float32", ("rows", 301)),
        ("hidden_states", "float32", ("batch", "sequence", 32)),
    ]


def test_caches_of_fused_operators_have_padded_heads() -> None:
    config = GPTNeoConfig.from_dict(Shape(hidden_size=60, num_heads=5).config)
    sizes = {
        make: {spec.axes[3] for cache in make(config, numbers).caches for spec in cache.past}
        for numbers in [NumberFormat.of(Precision.FP32)]
        for make in (fused_contract, genai_contract, portable_contract)
    }
    assert sizes == {fused_contract: {16}, genai_contract: {16}, portable_contract: {12}}


@pytest.mark.parametrize(
    ("precision", "width"), [(Precision.FP32, 40), (Precision.INT8, 48), (Precision.W8A8, 48)]
)
def test_quantized_embeddings_have_whole_blocks(precision: Precision, width: int) -> None:
    config = GPTNeoConfig.from_dict(Shape(hidden_size=40, num_heads=5).config)
    for make in (fused_contract, genai_contract, portable_contract):
        embedding, positions = make(config, NumberFormat.of(precision)).tables
        assert (embedding.axes, positions.axes) == ((301, width), (64, 40))


def test_hidden_states_of_other_layers_are_outputs_where_asked() -> None:
    config = GPTNeoConfig.from_dict(Shape(layers=("global",) * 4).config)
    fused = fused_contract(config, NumberFormat.of(Precision.FP16), (3, 0))
    portable = portable_contract(config, NumberFormat.of(Precision.FP16), (0, 4))
    assert signatures(tuple(fused.hidden_states.values())) == [
        ("hidden_states.0", "float32", ("batch", "sequence", 32)),
        ("hidden_states.3", "float32", ("batch", "sequence", 32)),
        ("hidden_states", "float32", ("batch", "sequence", 32)),
    ]
    assert signatures(tuple(portable.hidden_states.values())) == [
        ("hidden_states.0", "float16", ("batch_size", "sequence_length", 32)),
        ("last_hidden_state", "float16", ("batch_size", "sequence_length", 32)),
    ]
    assert list(fused.hidden_states) == [0, 3, 4]
    assert not portable_contract(config, NumberFormat.of(Precision.FP16)).hidden_states
    assert not genai_contract(config, NumberFormat.of(Precision.FP16)).hidden_states


def test_each_layer_has_its_own_cache_the_local_ones_as_long_as_the_window() -> None:
    global_cache, local_cache = contract().caches
    assert signatures(global_cache.past) == [
        ("past_key_values.0.key", "float32", ("batch", 4, "capacity", 8)),
        ("past_key_values.0.value", "float32", ("batch", 4, "capacity", 8)),
    ]
    assert signatures(local_cache.present) == [
        ("present.1.key", "float32", ("batch", 4, 7, 8)),
        ("present.1.value", "float32", ("batch", 4, 7, 8)),
    ]


def test_past_and_present_are_alike_as_they_share_a_buffer() -> None:
    for cache in contract(Shape(layers=("local", "global") * 3)).caches:
        for past, present in zip(cache.past, cache.present, strict=True):
            assert (past.axes, past.data_type) == (present.axes, present.data_type)


def test_a_window_wider_than_the_context_is_cut_to_the_context() -> None:
    for window, rows in ((63, 63), (64, 64), (65, 64), (10_000, 64)):
        assert contract(Shape(window_size=window)).caches[1].past_key.axes[2] == rows


@pytest.mark.parametrize("precision", Precision)
def test_caches_are_as_activations_and_results_always_float32(precision: Precision) -> None:
    config = GPTNeoConfig.from_dict(Shape().config)
    for activations in precision.activations:
        made = fused_contract(config, NumberFormat(precision, activations))
        caches = {spec.data_type for cache in made.caches for spec in cache.past + cache.present}
        assert caches == {activations}
        results = (made.logits, *made.hidden_states.values())
        assert {spec.data_type for spec in results} == {DataType.FLOAT32}


def test_activations_follow_the_precision_where_they_are_not_named() -> None:
    found = {p.value: NumberFormat.of(p).activations.value for p in Precision}
    assert found == {
        "fp32": "float32",
        "fp16": "float16",
        "bf16": "bfloat16",
        "int8": "float32",
        "w8a8": "float32",
        "int4": "float32",
    }


def test_weights_of_w8a8_have_7_bits_unless_full_range_is_asked_for() -> None:
    assert [p for p in Precision if NumberFormat.of(p).reduce_range] == [Precision.W8A8]


def test_inputs_and_outputs_are_in_the_graphs_order() -> None:
    made = contract()
    assert [spec.name for spec in made.inputs][5:] == [
        f"past_key_values.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")
    ]
    assert [spec.name for spec in made.outputs] == [
        "logits",
        "hidden_states",
        *(f"present.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")),
    ]


def test_no_name_is_used_twice() -> None:
    made = contract(Shape(layers=("global", "local") * 20))
    names = [spec.name for spec in made.inputs + made.outputs]
    assert len(set(names)) == len(names) == 7 + 40 * 4


@pytest.mark.parametrize("data_type", DataType)
def test_element_types_are_numbered_and_sized_as_onnx_has_them(data_type: DataType) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(data_type.onnx)
    assert dtype.name == data_type.value
    if data_type is DataType.UINT4:  # a byte each in numpy
        assert data_type.bits == 4
    else:
        assert 8 * np.dtype(dtype).itemsize == 8 * data_type.itemsize == data_type.bits
