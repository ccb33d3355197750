"""The fused decoder: the rows of a step, however many there are."""

import numpy as np
import pytest
from checkpoints import Shape
from refusals import refused

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.fused_decoder import FusedDecoder

PROMPTS = [np.array([3, 1, 4, 1, 5, 9, 2, 6]), np.array([7]), np.array([2, 7, 1])]


def decoder_of(directory, slots, least_rows):
    shared = Engine.load(directory, device="cpu", slots=slots).decoder(slots)
    return FusedDecoder(shared.session, shared.contract, shared.cache, least_rows)


def steps_of(decoder, rows, steps=6):
    """Logits [steps, vocab] of the first of so many sequences that step together."""
    for slot, prompt in enumerate(PROMPTS[:rows]):
        decoder.cache.clear(slot)
        decoder.prefill(slot, prompt)
    active = np.ones(rows, np.bool_)
    return np.stack(
        [decoder.decode(np.arange(step, step + rows), active)[0].copy() for step in range(steps)]
    )


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4", "w8a8"])
def test_two_rows_at_least_give_a_row_the_same_results_in_any_batch(export_shape, precision):
    directory = export_shape(Shape(hidden_size=64, layers=("global", "local") * 3), precision)
    decoder = decoder_of(directory, 4, least_rows=2)
    alone = steps_of(decoder, 1)
    assert np.array_equal(alone, steps_of(decoder, 2))
    assert np.array_equal(alone, steps_of(decoder, 3))


def test_sequences_in_the_slots_beside_are_left_as_they_were(export_shape):
    decoder = decoder_of(export_shape(), 2, least_rows=2)
    for slot, prompt in enumerate(PROMPTS[:2]):
        decoder.cache.clear(slot)
        decoder.prefill(slot, prompt)
    before = decoder.cache.read(1)
    decoder.decode(np.array([8]), np.array([True]))
    assert decoder.cache.lengths.tolist() == [9, 1]
    for rows, kept in zip(decoder.cache.read(1), before, strict=True):
        assert np.array_equal(rows, kept)


def test_a_cache_needs_a_slot_for_each_row(export_shape):
    with refused(InputError, "the cache has 1 slots; a multiple of 2 is needed"):
        decoder_of(export_shape(), 1, least_rows=2)


@pytest.mark.parametrize("precision", ["fp32", "w8a8", "int8", "int4"])
def test_a_batch_invariant_model_gives_each_slot_the_same_bits_in_any_batch(
    export_shape, precision, random
):
    # Rows are long enough that kernels take them in pairs.
    shape = Shape(hidden_size=256, num_heads=4, layers=("global", "local"))
    engine = Engine.load(export_shape(shape, precision), "cpu", batch_invariant=True)
    with engine.exclusive():
        decoder = engine.decoder(slots=7)
        prompts = [random.integers(0, 301, 3 + 2 * slot) for slot in range(7)]
        alone = []
        for prompt in prompts:
            decoder.cache.clear(0)
            decoder.prefill(0, prompt)
            alone.append(decoder.decode(np.array([5]), np.ones(1, bool))[0].copy())
        for count in range(1, 8):
            for slot, prompt in enumerate(prompts):
                decoder.cache.clear(slot)
                decoder.prefill(slot, prompt)
            logits = decoder.decode(np.full(count, 5), np.ones(count, bool))
            assert len(logits) == count
            assert (logits == np.stack(alone[:count])).all()
            kept = decoder.cache.read(6)
            decoder.cache.clear(6)
            decoder.prefill(6, prompts[6])
            if count < 7:
                assert all(map(np.array_equal, kept, decoder.cache.read(6)))
