"""Where every node of a graph would run on a GPU, and where the runtime allocates and binds.

`make test-gpu` runs these tests, with stand-ins for CUDA's libraries (stand_in.py): kernels do
nothing and device memory is host memory, but ONNX Runtime places nodes, allocates, copies and
checks bindings as on a real machine. test_cuda.py tests on a GPU what kernels compute.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from checkpoints import FEW_OPERATORS, Shape

from gptneo_onnx.models import DeviceError
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import session
from gptneo_onnx.runtime.engine.buffers import DeviceBuffer, StepInput
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.device import warn_fallback
from gptneo_onnx.runtime.engine.row_copies import DeviceRowCopier

pytestmark = [
    pytest.mark.placement,
    pytest.mark.skipif(
        "GPTNEO_ONNX_CUDA_STAND_IN" not in os.environ, reason="run it with: make test-gpu"
    ),
]

SHAPES = {
    "alternating": Shape(hidden_size=64, num_heads=2),
    "all local, untied, gelu": Shape(
        layers=("local",) * 3,
        hidden_size=64,
        num_heads=1,
        tie_word_embeddings=False,
        activation_function="gelu",
    ),
    "quick_gelu": Shape(hidden_size=64, num_heads=2, activation_function="quick_gelu"),
    **{
        name: Shape(hidden_size=64, num_heads=2, activation_function=name)
        for name in ("relu", *FEW_OPERATORS)
    },
}


@pytest.fixture
def recorded_options(monkeypatch, tmp_path):
    """Have sessions record each node's provider, and write the optimized graph to the path."""
    original = session._session_options
    optimized = tmp_path / "optimized.onnx"

    def options(*arguments):
        session_options = original(*arguments)
        session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session_options.optimized_model_filepath = str(optimized)
        return session_options

    monkeypatch.setattr(session, "_session_options", options)
    return optimized


def placements(inference: onnxruntime.InferenceSession) -> Counter[tuple[str, str]]:
    """Count the nodes by (provider, operator)."""
    return Counter(
        (subgraph.ep_name, node.op_type)
        for subgraph in inference.get_provider_graph_assignment_info()
        for node in subgraph.get_nodes()
    )


def copies(graph: Path) -> int:
    nodes = onnx.load(graph, load_external_data=False).graph.node
    return sum(node.op_type.startswith("Memcpy") for node in nodes)


@pytest.mark.parametrize(
    ("precision", "activations"),
    [
        ("fp16", None),
        ("bf16", None),
        ("int8", "fp16"),
        ("int8", "bf16"),
        ("int4", "fp16"),
        ("int4", "bf16"),
    ],
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_every_node_lands_on_cuda_and_nothing_is_copied(
    export_shape, recorded_options, shape, precision, activations
):
    directory = export_shape(shape, precision, activations, hidden_states="all")
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cuda")
    placed = placements(model.engine._decoder.session.inference)
    assert {provider for provider, _ in placed} == {"CUDAExecutionProvider"}
    assert placed["CUDAExecutionProvider", "GroupQueryAttention"] == len(shape.layers)
    assert copies(recorded_options) == 0
    states = model([[1, 2, 3]], output_hidden_states=True).hidden_states
    assert [layer.shape for layer in states] == [(1, 3, 64)] * (len(shape.layers) + 1)


def test_onnx_runtime_accepts_the_graph_for_cuda_graphs(export_shape, monkeypatch):
    """It refuses graphs that have a node which is not on CUDA, as float32 graphs have."""
    monkeypatch.setattr(session, "_check_provider_options", lambda options: None)
    monkeypatch.setattr(
        "gptneo_onnx.runtime.engine.device._ruled_out", lambda device, precision: ""
    )

    def load(precision):
        return GPTNeoForCausalLM.from_pretrained(
            export_shape(SHAPES["alternating"], precision),
            device="cuda",
            provider_options={"enable_cuda_graph": "1"},
        )

    options = load("fp16").engine._decoder.session.inference.get_provider_options()
    assert options["CUDAExecutionProvider"]["enable_cuda_graph"] == "1"
    with pytest.raises(DeviceError, match="cannot be used"):
        load("fp32")


def test_a_float32_graph_would_fall_back_which_is_why_it_is_refused(
    export_shape, recorded_options, monkeypatch
):
    directory = export_shape(SHAPES["alternating"])
    with pytest.raises(DeviceError, match="no float32 kernel on CUDA; export with --precision"):
        GPTNeoForCausalLM.from_pretrained(directory, device="cuda")
    monkeypatch.setattr(
        "gptneo_onnx.runtime.engine.device._ruled_out", lambda device, precision: ""
    )
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cuda")
    placed = placements(model.engine._decoder.session.inference)
    assert placed["CPUExecutionProvider", "GroupQueryAttention"] == 2
    assert copies(recorded_options) > 0


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", "cpu"), ("fp16", "cuda"), ("bf16", "cuda")]
)
def test_auto_takes_cuda_where_the_precision_has_kernels(export_shape, caplog, precision, expected):
    warn_fallback.cache_clear()
    with caplog.at_level("WARNING"):
        model = GPTNeoForCausalLM.from_pretrained(export_shape(precision=precision))
    assert model.device.type == expected
    is_warned = "no float32 kernel on CUDA; export with --precision fp16" in caplog.text
    assert is_warned == (precision == "fp32")


def test_w8a8_has_no_cuda_kernels_and_the_refusal_says_what_to_do(export_shape):
    directory = export_shape(SHAPES["alternating"], "w8a8")
    with pytest.raises(DeviceError, match="w8a8 has no CUDA kernels; export with --precision int8"):
        GPTNeoForCausalLM.from_pretrained(directory, device="cuda")
    assert GPTNeoForCausalLM.from_pretrained(directory).device.type == "cpu"


def test_a_missing_gpu_is_refused(export_shape):
    directory = export_shape(precision="fp16")
    with pytest.raises(DeviceError, match="device cuda:7 cannot be used"):
        GPTNeoForCausalLM.from_pretrained(directory, device="cuda:7")


@pytest.fixture
def bound(monkeypatch):
    """Record the views of caches (device, shape, offset, bytes) and the devices of step inputs."""
    views: list[tuple[str, str, tuple[int, ...], int]] = []
    inputs: dict[str, str] = {}
    original_view, original_init = DeviceBuffer.view, StepInput.__init__

    def view(buffer, first, count, element=None):
        device, index, data_type, shape, pointer = original_view(buffer, first, count, element)
        views.append((device, shape, pointer - buffer.value.data_ptr(), buffer.nbytes))
        return device, index, data_type, shape, pointer

    def init(step_input, binding, spec, shape, device):
        original_init(step_input, binding, spec, shape, device)
        inputs[spec.name] = step_input.value.device_name()

    monkeypatch.setattr(DeviceBuffer, "view", view)
    monkeypatch.setattr(StepInput, "__init__", init)
    return views, inputs


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_caches_slot_views_and_step_inputs_are_bound_on_the_device(
    export_shape, bound, random, precision
):
    shape = SHAPES["alternating"]
    model = GPTNeoForCausalLM.from_pretrained(
        export_shape(shape, precision), device="cuda", slots=3
    )
    decoder: Decoder = model.engine.decoder(slots=3)
    views, inputs = bound
    assert all(b.buffer.value.device_name() == "cuda" for b in decoder.cache._buffers)

    decoder.prefill_chunk = 4
    decoder.prefill(2, random.integers(0, 301, 11))
    assert {device for device, *_ in views} == {"cuda"}
    # Slot 2 is the last third of every buffer.
    assert all(3 * offset == 2 * nbytes for _, _, offset, nbytes in views)
    assert {view[0] for _, view, *_ in views} == {1}

    views.clear()
    logits = decoder.decode(np.array([1, 2, 3]), np.ones(3, bool))
    assert logits.shape == (3, shape.vocab_size)
    assert all(offset == 0 for _, _, offset, _ in views)
    assert inputs.pop("total_sequence_length") == "cpu"
    assert set(inputs.values()) == {"cuda"}
    assert len(inputs) == 4


def test_step_inputs_reach_the_device(export_shape):
    model = GPTNeoForCausalLM.from_pretrained(export_shape(precision="fp16"), device="cuda")
    decoder = model.engine.decoder(slots=2)
    decoder.decode(np.array([5, 6]), np.ones(2, bool))
    decoder.decode(np.array([7, 8]), np.ones(2, bool))
    step = decoder._decode_step
    assert step.input_ids.value.numpy().tolist() == [[7], [8]]
    assert step.position_ids.value.numpy().tolist() == [[1], [1]]
    assert step.seqlens_k.value.numpy().tolist() == [1, 1]


def test_generate_runs_to_its_end(export_shape):
    model = GPTNeoForCausalLM.from_pretrained(export_shape(precision="fp16"), device="cuda")
    ids = [[0, 1, 2], [3, 4, 5]]
    mask = [[0, 1, 1], [1, 1, 1]]
    result = model.generate(ids, mask, max_new_tokens=20, eos_token_id=None)
    assert result.shape == (2, 23)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("axis", [0, 2])
def test_rows_of_the_cache_move_on_the_device(export_shape, recorded_options, precision, axis):
    model = GPTNeoForCausalLM.from_pretrained(export_shape(precision=precision), device="cuda")
    moves = model.engine.decoder(1).cache._copier
    assert isinstance(moves, DeviceRowCopier)
    placed = placements(moves._session(axis).inference)
    assert placed == {
        ("CUDAExecutionProvider", "Concat"): 1,
        ("CUDAExecutionProvider", "Gather"): 1,
    }
    assert copies(recorded_options) == 0


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_beams_and_rejected_tokens_copy_rows_on_the_device(export_shape, bound, precision):
    shape = SHAPES["alternating"]
    model = GPTNeoForCausalLM.from_pretrained(export_shape(shape, precision), device="cuda")
    decoder = model.engine.decoder(slots=3)
    views, _ = bound
    decoder.prefill(1, np.arange(9))
    views.clear()
    decoder.cache.reorder(np.array([1, 1, 1]))
    # Each buffer twice, as input and as output, both times whole.
    assert len(views) == 2 * len(decoder.cache._buffers)
    assert {(device, offset) for device, _, offset, _ in views} == {("cuda", 0)}

    views.clear()
    point = decoder.cache.rollback_point(2, 4)
    assert all(evicted.device_name() == "cuda" for evicted in point.evicted)
    decoder.verify(2, np.arange(4))
    views.clear()
    decoder.cache.roll_back(point, 10)
    assert {device for device, *_ in views} == {"cuda"}
    assert all(3 * offset == 2 * nbytes for _, _, offset, nbytes in views)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_beams": 3, "num_return_sequences": 2},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
        {"prompt_lookup_num_tokens": 3},
        {"guidance_scale": 1.5},
        {"do_sample": True, "num_return_sequences": 3, "seed": 1},
    ],
    ids=str,
)
def test_every_strategy_runs_to_its_end(export_shape, arguments):
    model = GPTNeoForCausalLM.from_pretrained(export_shape(precision="fp16"), device="cuda")
    results = model.generate([[3, 4, 5, 3, 4]], max_new_tokens=20, eos_token_id=None, **arguments)
    assert results.shape[1] == 25
    cache = model.prefill([[3, 4, 5]])
    assert model.generate([[3, 4, 5, 6]], past_key_values=cache, max_new_tokens=3).shape[0] == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_portable_graph_keeps_its_caches_on_the_device(export_shape, random, precision):
    """Shapes are computed on the host, all else on CUDA, which has the float32 kernels for it."""
    directory = export_shape(SHAPES["alternating"], precision, graph="portable")
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cuda", slots=2)
    decoder = model.engine.decoder(slots=2)
    for slot, length in enumerate((3, 5)):
        decoder.prefill(slot, random.integers(0, 301, length))
    for tokens in ([1, 2], [3, 4]):
        logits = decoder.decode(np.array(tokens), np.ones(2, bool))
    assert logits.shape == (2, SHAPES["alternating"].vocab_size)
    decoder.cache.reorder(np.array([1, 0]))
    assert decoder.cache.lengths.tolist() == [7, 5]
    for slot in (0, 1):
        rows = decoder.cache.rows(slot)
        assert {value.device_name() for value in rows} == {"cuda"}
        assert rows[0].shape()[2] == decoder.cache.lengths[slot]
