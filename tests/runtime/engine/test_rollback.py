"""Taking tokens back, and moving sequences between slots: exact, though windows have let go."""

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import row_copies as row_copier
from gptneo_onnx.runtime.engine.device import CPU
from gptneo_onnx.runtime.engine.row_copies import DeviceRowCopier

CONTEXT, WINDOW = 64, 6


@pytest.fixture(params=["numpy", "graph"])
def model(request, export_shape, monkeypatch):
    """On this machine's CPU, with either way of moving rows."""
    if request.param == "graph":
        monkeypatch.setattr(
            "gptneo_onnx.runtime.engine.slot_cache.row_copier",
            lambda device, kind: DeviceRowCopier(CPU, kind),
        )
    shape = Shape(
        layers=("local", "global", "local"), window_size=WINDOW, max_position_embeddings=CONTEXT
    )
    return GPTNeoForCausalLM.from_pretrained(export_shape(shape), slots=3)


def contents(decoder, slot):
    return decoder.cache.read(slot)


def same(one, other):
    return all((a == b).all() for a, b in zip(one, other, strict=True))


# Around the window: not yet full, just full, and long full.
@pytest.mark.parametrize("length", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 40])
@pytest.mark.parametrize("tokens", [1, 2, WINDOW])
def test_tokens_are_taken_back_exactly(model, random, length, tokens):
    decoder = model.engine.decoder(slots=3)
    ids = random.integers(0, 301, length + tokens)
    for kept in range(tokens + 1):
        decoder.cache.clear(1)
        decoder.prefill(1, ids[:length])
        if kept:
            decoder.verify(1, ids[length : length + kept])
        expected = contents(decoder, 1)

        decoder.cache.clear(1)
        decoder.prefill(1, ids[:length])
        point = decoder.cache.rollback_point(1, tokens)
        # What comes back is what the longer step left: its first rows differ in rounding only.
        longer = decoder.verify(1, ids[length:])
        decoder.cache.roll_back(point, length + kept)
        assert decoder.cache.lengths[1] == length + kept
        for rows, wanted in zip(contents(decoder, 1), expected, strict=True):
            np.testing.assert_allclose(rows, wanted, atol=1e-5)
        if kept < tokens:  # and the model goes on from there as if nothing had been
            again = decoder.verify(1, ids[length + kept :])
            np.testing.assert_allclose(again, longer[kept:], atol=1e-4)


def test_taken_back_in_several_steps_and_to_where_it_was(model, random):
    decoder = model.engine.decoder(slots=3)
    decoder.prefill(0, random.integers(0, 301, 30))
    before = contents(decoder, 0)
    point = decoder.cache.rollback_point(0, WINDOW)
    for count in (2, 1, 3):
        decoder.verify(0, random.integers(0, 301, count))
    for length in (34, 33, 30):
        decoder.cache.roll_back(point, length)
    assert same(contents(decoder, 0), before)


def test_other_slots_are_left_alone(model, random):
    decoder = model.engine.decoder(slots=3)
    for slot in range(3):
        decoder.prefill(slot, random.integers(0, 301, 20 + slot))
    others = [contents(decoder, slot) for slot in (0, 2)]
    point = decoder.cache.rollback_point(1, 4)
    decoder.verify(1, random.integers(0, 301, 4))
    decoder.cache.roll_back(point, 22)
    assert all(
        same(contents(decoder, slot), rows) for slot, rows in zip((0, 2), others, strict=True)
    )


@pytest.mark.parametrize("order", [[1, 2, 0], [0, 0, 0], [2, 2, 1], [0, 1, 2], [1, 0, 2]])
def test_slots_take_each_others_sequences(model, random, order):
    decoder = model.engine.decoder(slots=3)
    for slot, length in enumerate((4, 25, 9)):
        decoder.prefill(slot, random.integers(0, 301, length))
    before = [contents(decoder, slot) for slot in range(3)]
    lengths = decoder.cache.lengths[order].tolist()
    decoder.cache.reorder(np.array(order))
    assert decoder.cache.lengths.tolist() == lengths
    for slot in range(3):
        assert same(contents(decoder, slot), before[order[slot]])


def test_a_slot_is_written_as_it_was_read(model, random):
    decoder = model.engine.decoder(slots=3)
    for length in (3, 20):
        decoder.cache.clear(0)
        decoder.prefill(0, random.integers(0, 301, length))
        saved = contents(decoder, 0)
        assert [rows.shape for rows in saved] == decoder.cache.row_shapes(length)
        decoder.prefill(2, random.integers(0, 301, 30 - length))
        decoder.cache.write(2, saved, length)
        assert same(contents(decoder, 2), saved)
        decoder.cache.clear(2)


class TestRefusals:
    def test_more_tokens_than_a_window_holds(self, model):
        with pytest.raises(InputError, match="7 tokens push each other out of windows of 6; at"):
            model.engine.decoder(slots=1).cache.rollback_point(0, WINDOW + 1)

    def test_back_before_the_checkpoint_or_beyond_it(self, model):
        decoder = model.engine.decoder(slots=1)
        decoder.prefill(0, np.ones(10, np.int64))
        point = decoder.cache.rollback_point(0, 3)
        decoder.verify(0, np.ones(3, np.int64))
        for length in (9, 14):
            with pytest.raises(InputError, match=f"back to {length} of 13 tokens; 10 to 13 are"):
                decoder.cache.roll_back(point, length)
        decoder.verify(0, np.ones(1, np.int64))
        with pytest.raises(InputError, match="12 of 14 tokens: its rollback point at 10 was"):
            decoder.cache.roll_back(point, 12)


def test_the_module_chooses_numpy_for_a_cpu():
    assert isinstance(row_copier.row_copier(CPU, np.dtype("float32")), row_copier.HostRowCopier)
