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
    decoder = decoder_of(directory, 3, least_rows=2)
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
    with refused(InputError, "the cache has 1 slots; at least 2 are needed"):
        decoder_of(export_shape(), 1, least_rows=2)
