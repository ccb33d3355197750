"""On a real GPU: the numbers of the CPU, within tolerances. Skipped where there is no GPU."""

import os

import numpy as np
import onnxruntime
import pytest
from checkpoints import Shape
from reference import ReferenceGPTNeo

from gptneo_onnx.models import DeviceError
from gptneo_onnx.runtime import GPTNeoForCausalLM

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="needs onnxruntime-gpu",
    ),
    pytest.mark.skipif(
        "GPTNEO_ONNX_CUDA_STAND_IN" in os.environ, reason="stand-ins compute nothing"
    ),
]

SHAPE = Shape(hidden_size=128, num_heads=2, layers=("global", "local") * 2, window_size=16)
TOLERANCES = {"fp16": 2e-2, "bf16": 0.2}


@pytest.fixture(params=TOLERANCES)
def precision(request):
    return request.param


@pytest.fixture
def directory(export_shape, precision):
    return export_shape(SHAPE, precision, hidden_states="all")


@pytest.fixture
def model(directory):
    try:
        return GPTNeoForCausalLM.from_pretrained(directory, device="cuda")
    except DeviceError as error:
        pytest.skip(str(error))


def test_logits_are_close_to_the_oracles(model, directory, random, precision):
    ids = random.integers(0, SHAPE.vocab_size, SHAPE.max_position_embeddings)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").logits(ids)
    for model.engine.prefill_chunk in (64, 20, 7, 1):
        logits = model(ids[None]).logits[0]
        assert np.abs(logits - expected).max() / expected.std() < TOLERANCES[precision]


def test_hidden_states_are_close_to_the_oracles(model, directory, random, precision):
    ids = random.integers(0, SHAPE.vocab_size, SHAPE.max_position_embeddings)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").all_hidden_states(ids)
    layers = model(ids[None], output_hidden_states=True).hidden_states
    for states, expected_states in zip(layers, expected, strict=True):
        difference = np.abs(states[0] - expected_states).max() / expected_states.std()
        assert difference < TOLERANCES[precision]


def test_a_ragged_batch_gives_what_each_sequence_gives_alone(model, random):
    ids = random.integers(0, SHAPE.vocab_size, (3, 30))
    mask = np.ones_like(ids)
    mask[0, :11] = mask[2, :25] = 0
    together = model.generate(ids, mask, max_new_tokens=20, eos_token_id=None)
    for row in range(3):
        alone = model.generate(ids[row, mask[row] == 1][None], max_new_tokens=20, eos_token_id=None)
        assert together[row, 30:].tolist() == alone[0, -20:].tolist()


def test_beams_and_assistance_leave_the_right_rows_in_the_cache(model, random):
    """On a GPU a graph copies the cache's rows, on a CPU numpy does."""
    ids = random.integers(0, SHAPE.vocab_size, (1, 40))
    plain = model.generate(ids, max_new_tokens=20, eos_token_id=None)
    lookup = {"prompt_lookup_num_tokens": 4}
    assert model.generate(ids, max_new_tokens=20, eos_token_id=None, **lookup).tolist() == (
        plain.tolist()
    )
    beams = model.generate(ids, max_new_tokens=20, eos_token_id=None, num_beams=4)
    # The prompt's cache, saved from the device and written back to it.
    saved = model.prefill(ids)
    again = model.generate(
        ids, max_new_tokens=20, eos_token_id=None, num_beams=4, past_key_values=saved
    )
    assert again.tolist() == beams.tolist()
