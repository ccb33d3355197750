"""The slot cache: its bytes, and that its slots do not touch each other."""

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.models import GPTNeoConfig, NumberFormat, Precision, fused_contract
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine.device import CPU
from gptneo_onnx.runtime.engine.slot_cache import SlotCache

SHAPE = Shape(layers=("global", "local", "local"), window_size=5, max_position_embeddings=48)
ROW_BYTES = 2 * 32 * 4  # key and value, hidden size, float32


def test_local_layers_hold_the_window_and_no_more():
    contract = fused_contract(GPTNeoConfig.from_dict(SHAPE.config), NumberFormat.of(Precision.FP32))
    for context in (48, 480, 4800):
        cache = SlotCache(contract, slots=2, capacity=context, device=CPU)
        assert cache.nbytes == 2 * ROW_BYTES * (context + 5 + 5)


@pytest.mark.parametrize(("precision", "share"), [("fp32", 1), ("fp16", 2)])
def test_cache_bytes_stay_the_same_however_long_the_text(export_shape, precision, share):
    model = GPTNeoForCausalLM.from_pretrained(export_shape(SHAPE, precision))
    expected = ROW_BYTES * (48 + 5 + 5) // share
    assert model.engine.cache_bytes == expected
    model.generate([[1, 2, 3]], max_new_tokens=45, eos_token_id=None)
    assert model.engine.cache_bytes == expected


def test_a_larger_batch_makes_more_slots(export_shape):
    model = GPTNeoForCausalLM.from_pretrained(export_shape(SHAPE))
    one = model.engine.cache_bytes
    model.generate([[1], [2], [3]], max_new_tokens=2)
    assert model.engine.cache_bytes == 3 * one


def test_a_step_of_some_slots_leaves_the_others_alone(export_shape, random):
    model = GPTNeoForCausalLM.from_pretrained(export_shape(SHAPE), slots=3)
    decoder = model.engine.decoder(slots=3)
    prompts = [random.integers(0, 301, 12) for _ in range(3)]
    for slot in (2, 0, 1):
        decoder.prefill(slot, prompts[slot])
    assert decoder.cache.lengths.tolist() == [12, 12, 12]
    tokens = random.integers(0, 301, (6, 3))
    together = [decoder.decode(row, np.ones(3, bool)).copy() for row in tokens]
    for slot in range(3):
        decoder.cache.clear(0)
        decoder.prefill(0, prompts[slot])
        for step, row in enumerate(tokens):
            logits = decoder.decode(row[slot : slot + 1], np.ones(1, bool))
            assert np.abs(logits[0] - together[step][slot]).max() < 1e-4
