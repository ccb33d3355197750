"""Rows of some tokens of a sequence: looked at after a step, and put back as whole sequences."""

from typing import Any

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine.decoder import Decoder

SHAPE = Shape(layers=("global", "local", "local"), window_size=6, max_position_embeddings=48)
GRAPHS = {"fused": {}, "portable": {"graph": "portable"}, "no past": {"task": "text-generation"}}


@pytest.fixture(params=[*GRAPHS])
def decoder(request: Any, export_shape: Any) -> Decoder:
    directory = export_shape(SHAPE, **GRAPHS[request.param])
    return GPTNeoForCausalLM.from_pretrained(directory, "cpu").engine.decoder(slots=3)


def test_sequences_are_put_together_from_the_rows_of_their_steps(
    decoder: Decoder, random: np.random.Generator
) -> None:
    cache = decoder.cache
    ids = random.integers(0, 301, 45)
    blocks, done = [], 0
    while done < len(ids):
        count = min(int(random.integers(1, 7)), len(ids) - done)
        decoder.prefill(0, ids[done : done + count])
        blocks.append(np.stack(cache.view_rows(0, done, done + count)))
        done += count
        cache.restore(2, blocks, done)
        assert cache.lengths.tolist() == [done, 0, done]
        assert all(map(np.array_equal, cache.read(2), cache.read(0)))
    cache.restore(1, blocks[:1], blocks[0].shape[2])
    assert all(map(np.array_equal, cache.read(2), cache.read(0))), "other slots stay as they are"


def test_a_batch_is_looked_at_slot_by_slot(decoder: Decoder, random: np.random.Generator) -> None:
    prompts = [random.integers(0, 301, length) for length in (9, 4, 12)]
    for slot, ids in enumerate(prompts):
        decoder.prefill(slot, ids)
    decoder.decode(random.integers(0, 301, 3), np.ones(3, bool))
    for slot, ids in enumerate(prompts):
        length = len(ids) + 1
        for view, rows in zip(
            decoder.cache.view_rows(slot, length - 3, length), decoder.cache.read(slot), strict=True
        ):
            assert (view == rows[:, -3:]).all()
