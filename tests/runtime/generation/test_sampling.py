"""Draws: the right distribution, and reproducible by seed alone."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import set_seed
from gptneo_onnx.runtime.generation.logits_process import probabilities
from gptneo_onnx.runtime.generation.sampling import sample, sequence_generators

DRAWS = 100_000


def test_tokens_are_drawn_from_the_softmax(random):
    """Chi-square over 30 tokens: 29 degrees of freedom, 58.3 is passed once in a thousand."""
    scores = random.normal(size=30).astype(np.float32)
    expected = probabilities(scores.astype(np.float64)) * DRAWS
    drawn = np.bincount([sample(scores, random) for _ in range(DRAWS)], minlength=30)
    assert ((drawn - expected) ** 2 / expected).sum() < 58.3


def test_tokens_that_are_gone_are_never_drawn(random):
    scores = np.array([-np.inf, 0, -np.inf, 0, -np.inf], np.float32)
    assert {sample(scores, random) for _ in range(1000)} == {1, 3}


def test_a_single_candidate_is_drawn(random):
    assert sample(np.array([-np.inf, -80, -np.inf], np.float32), random) == 1


def first_draws(seed, prompts):
    return [g.random() for g in sequence_generators(seed, [np.array(p) for p in prompts])]


def test_draws_follow_from_seed_and_prompt():
    alone = first_draws(1, [[5, 6]])
    assert first_draws(1, [[9], [5, 6]])[1] == alone[0]
    assert first_draws(2, [[5, 6]]) != alone


def test_the_same_prompt_twice_is_drawn_twice():
    draws = first_draws(1, [[5], [5], [5]])
    assert len(set(draws)) == 3
    assert first_draws(1, [[5], [5]]) == draws[:2]


def test_set_seed_repeats_what_follows():
    set_seed(11)
    first = [first_draws(None, [[1]]), first_draws(None, [[1]])]
    assert first[0] != first[1]
    set_seed(11)
    assert [first_draws(None, [[1]]), first_draws(None, [[1]])] == first


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True])
def test_set_seed_refuses_what_is_no_seed(seed):
    with pytest.raises(InputError, match="seed is .*; a whole number of at least 0"):
        set_seed(seed)
