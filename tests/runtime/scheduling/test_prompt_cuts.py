"""Prompts that are cut and reused where the rules allow leave the bits that generate() leaves."""

from typing import Any

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling.prompt_cuts import BLOCK, PromptCuts, prompt_cuts

# Heads of 64 numbers, since sums over tokens are cut into groups by the size of a head.
WINDOWED = Shape(
    layers=("global", "local", "local"),
    hidden_size=128,
    num_heads=2,
    window_size=32,
    max_position_embeddings=704,
)
NUMBERS = [("fp32", False), ("w8a8", False), ("int8", True), ("int4", True)]


def drawn_cuts(cuts: PromptCuts, length: int, random: np.random.Generator) -> list[int]:
    """Cut a prompt as a scheduler with a changing budget does; return the chunks' ends."""
    ends, done = [], 0
    while done < length:
        done += int(random.choice(cuts.chunks(done, length)))
        ends.append(done)
    return ends


@pytest.mark.parametrize(
    ("chunk", "free_until"), [(256, 256), (32, 32), (48, 32), (24, 64), (7, 0)]
)
def test_chunks_end_where_they_may(
    chunk: int, free_until: int | None, random: np.random.Generator
) -> None:
    cuts = PromptCuts(chunk, free_until)
    for _ in range(300):
        length = int(random.integers(1, 700))
        ends = drawn_cuts(cuts, length, random)
        assert ends[-1] == length
        for start, end in zip([0, *ends], ends, strict=False):
            assert 0 < end - start <= chunk
            if end < length:
                assert end % chunk == 0 or (end % BLOCK == 0 and end <= free_until)
        reused = cuts.reusable(int(random.integers(0, 800)), length)
        assert reused % BLOCK == 0
        assert reused < length
        assert reused == 0 or cuts.is_cut(reused, length)


def test_chunks_have_these_lengths() -> None:
    cuts = PromptCuts(256, 256)
    blocks = [*range(BLOCK, 257, BLOCK)]
    assert cuts.chunks(0, 700) == blocks
    assert cuts.chunks(96, 700) == blocks[:10]
    assert cuts.chunks(256, 700) == [256], "past the window, chunks are whole"
    assert PromptCuts(256).chunks(256, 700) == blocks, "in float32 they need not be"
    assert cuts.chunks(512, 700) == [188]
    assert cuts.chunks(0, 17) == [17], "a single token is not left"
    assert cuts.chunks(0, 257)[-1] == 256, "but where generate() leaves it"
    assert cuts.chunks(256, 257) == [1]


def test_as_much_is_reused_as_gives_the_same_bits() -> None:
    cuts = PromptCuts(256, 256)
    assert cuts.reusable(100, 200) == 96
    assert cuts.reusable(200, 200) == 192
    assert cuts.reusable(192, 192) == 176, "the last token is read, for its logits"
    assert cuts.reusable(176, 177) == 160, "and another one beside it"
    assert cuts.reusable(600, 700) == 512
    assert PromptCuts(256).reusable(600, 700) == 592


@pytest.mark.parametrize(("precision", "batch_invariant"), NUMBERS)
def test_cuts_change_no_bit(
    export_shape: Any, precision: str, batch_invariant: bool, random: np.random.Generator
) -> None:
    directory = export_shape(WINDOWED, precision)
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=batch_invariant)
    model.engine.prefill_chunk = 32
    decoder = model.engine.decoder(slots=2)
    cuts = PromptCuts(32, decoder.cache.window)
    if precision != "fp32":
        assert prompt_cuts(model.engine, decoder, 32, is_exact=True) == cuts
    for length in (2, 17, 31, 33, 129, 161, 256, 257, 385, *random.integers(34, 700, 12).tolist()):
        ids = random.integers(0, 301, length)
        decoder.cache.clear(0)
        expected = decoder.prefill(0, ids)
        rows = decoder.cache.read(0)
        for _ in range(3):
            decoder.cache.clear(0)
            done = 0
            for end in drawn_cuts(cuts, length, random):
                logits = decoder.prefill(0, ids[done:end])
                done = end
            assert (logits == expected).all()
            assert all(map(np.array_equal, decoder.cache.read(0), rows))


@pytest.mark.parametrize(("precision", "error"), [("fp32", 0), ("w8a8", 0), ("int8", 1e-5)])
def test_portable_graphs_can_be_cut_at_any_block(
    export_shape: Any, precision: str, error: float, random: np.random.Generator
) -> None:
    directory = export_shape(WINDOWED, precision, graph="portable")
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu")
    decoder = model.engine.decoder(slots=2)
    cuts = prompt_cuts(model.engine, decoder, 256, is_exact=True)
    assert cuts == PromptCuts(256, None)
    for length in random.integers(34, 700, 6).tolist():
        ids = random.integers(0, 301, length)
        decoder.cache.clear(0)
        expected = decoder.prefill(0, ids)
        decoder.cache.clear(0)
        done = 0
        for end in drawn_cuts(cuts, length, random):
            logits = decoder.prefill(0, ids[done:end])
            done = end
        assert np.abs(logits - expected).max() <= error * np.abs(expected).max()
