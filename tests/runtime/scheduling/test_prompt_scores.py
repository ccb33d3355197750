"""Log probabilities, ranks and the likeliest tokens, against the definition in float64."""

import tracemalloc

import numpy as np
import pytest

from gptneo_onnx.runtime.scheduling.prompt_scores import token_scores


@pytest.mark.parametrize("length", [0, 1, 16, 17, 100])
@pytest.mark.parametrize("top", [0, 1, 5, 60])
def test_scores_are_those_of_the_softmax(
    length: int, top: int, random: np.random.Generator
) -> None:
    logits = random.normal(size=(length, 50)).astype(np.float32) * 5
    tokens = random.integers(0, 50, length)
    scores = token_scores(logits, tokens, top)
    assert [each.token for each in scores] == tokens.tolist()
    for row, token, each in zip(logits.astype(np.float64), tokens, scores, strict=True):
        logprobs = row - np.log(np.exp(row).sum())
        assert each.logprob == pytest.approx(logprobs[token], abs=1e-5)
        assert each.rank == 1 + np.count_nonzero(row > row[token])
        likeliest = np.argsort(-row)[:top]
        assert [other for other, _ in each.top] == likeliest.tolist()
        assert [logprob for _, logprob in each.top] == pytest.approx(logprobs[likeliest], abs=1e-5)
        assert type(each.token) is type(each.rank) is int


def test_memory_does_not_grow_with_the_chunk(random: np.random.Generator) -> None:
    logits = random.normal(size=(256, 5000)).astype(np.float32)
    tokens = random.integers(0, 5000, 256)
    tracemalloc.start()
    token_scores(logits, tokens, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < logits.nbytes // 2
