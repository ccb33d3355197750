"""Draws: the right distribution, depending only on seed, position and scores."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import set_seed
from gptneo_onnx.runtime.generation.noise import (
    TokenNoise,
    sample,
    sample_with_margin,
    sequence_noise,
)
from gptneo_onnx.runtime.generation.processors.base import probabilities

DRAWS = 100_000


@pytest.fixture
def noise(random):
    return TokenNoise([int(random.integers(2**63)), 0])


@pytest.mark.slow
def test_tokens_are_drawn_from_the_softmax(random, noise):
    """Chi-square over 30 tokens: 29 degrees of freedom, 58.3 is passed once in a thousand."""
    scores = random.normal(size=30).astype(np.float32)
    expected = probabilities(scores.astype(np.float64)) * DRAWS
    drawn = np.bincount([sample(scores, noise, i)[0] for i in range(DRAWS)], minlength=30)
    assert ((drawn - expected) ** 2 / expected).sum() < 58.3


def test_seeds_draw_as_independently_as_positions_do(random):
    scores = random.normal(size=30).astype(np.float32)
    expected = probabilities(scores.astype(np.float64)) * 20_000
    drawn = [sample(scores, TokenNoise([seed, 0]), 7)[0] for seed in range(20_000)]
    assert ((np.bincount(drawn, minlength=30) - expected) ** 2 / expected).sum() < 58.3


@pytest.mark.slow
def test_consecutive_draws_are_independent(random, noise):
    """Pairs of two draws of six tokens: 25 degrees of freedom, 52.6 once in a thousand."""
    scores = random.normal(size=6).astype(np.float32)
    likelihoods = probabilities(scores.astype(np.float64))
    drawn = np.array([sample(scores, noise, i)[0] for i in range(DRAWS)])
    pairs = np.bincount(drawn[:-1] * 6 + drawn[1:], minlength=36)
    expected = np.outer(likelihoods, likelihoods).ravel() * (DRAWS - 1)
    assert ((pairs - expected) ** 2 / expected).sum() < 35 + 5 * np.sqrt(70)


@pytest.mark.parametrize("tokens", [30, 6000])
@pytest.mark.parametrize("spread", [0.1, 1, 8])
def test_the_margin_of_a_draw_is_that_to_the_second_largest_key(random, noise, tokens, spread):
    """With many tokens, most are left out before their noise is computed."""
    margins = []
    for position in range(60):
        scores = (spread * random.normal(size=tokens)).astype(np.float32)
        scores[::7] = -np.inf
        drawn, margin = sample_with_margin(scores, noise, position)
        assert drawn.tolist() == sample(scores, noise, position).tolist()
        possible = np.flatnonzero(scores > -np.inf)
        second, first = np.sort(scores[possible] + noise.at(position, possible))[-2:]
        assert margin == pytest.approx(min(first - second, 4))
        margins.append(margin)
    assert min(margins) < 0.5 < 1 < max(margins)


def test_a_single_possible_token_is_as_sure_as_can_be(noise):
    scores = np.full(9, -np.inf, np.float32)
    assert sample_with_margin(scores, noise, 0)[0].size == 0
    scores[4] = 1
    drawn, margin = sample_with_margin(scores, noise, 0)
    assert (drawn.tolist(), margin) == ([4], 4)


def test_several_are_drawn_without_replacement(random, noise):
    """The second of two is distributed as draws from the tokens that the first left."""
    scores = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    drawn = [tuple(sample(scores, noise, i, count=2).tolist()) for i in range(20_000)]
    likelihoods = [0.5, 0.3, 0.2]
    for first in range(3):
        for second in range(3):
            expected = (
                0
                if first == second
                else likelihoods[first] * likelihoods[second] / (1 - likelihoods[first])
            )
            share = drawn.count((first, second)) / len(drawn)
            assert abs(share - expected) < 5 * np.sqrt(0.25 / len(drawn))
    assert sample(scores, noise, 0, count=9).shape == (3,)


def test_the_noise_is_gumbels(noise):
    values = noise.at(3, np.arange(DRAWS))
    assert abs(values.mean() - np.euler_gamma) < 0.02
    assert abs(values.var() - np.pi**2 / 6) < 0.04
    assert np.isfinite(values).all()


@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0, 3.0, 30.0])
def test_of_many_tokens_the_one_with_the_largest_key_is_drawn(random, noise, spread):
    """Most tokens are skipped without computing their keys: none may have had the largest."""
    tokens = np.arange(50257)
    scores = random.normal(scale=spread, size=len(tokens)).astype(np.float32)
    scores[random.random(len(tokens)) < 0.2] = -np.inf
    for position in range(100):
        expected = (scores + noise.at(position, tokens)).argmax()
        assert sample(scores, noise, position).tolist() == [expected]


def test_lower_bounds_are_below_the_noise(noise):
    tokens = np.arange(DRAWS)
    exponential = noise.exponential(3, tokens)
    assert (noise.lower_bounds(3, DRAWS) * 2.0**-32 <= exponential).all()
    assert abs(exponential.mean() - 1) < 0.02
    # Small noise decides for unlikely tokens: it must not come in coarse steps.
    assert len(np.unique(exponential)) == DRAWS


def test_a_tokens_noise_does_not_depend_on_the_other_candidates(noise):
    every = noise.at(5, np.arange(100))
    assert noise.at(5, np.array([7, 90])).tolist() == every[[7, 90]].tolist()
    assert noise.at(6, np.array([7])).tolist() != every[[7]].tolist()


def test_tokens_at_minus_infinity_are_never_drawn(noise):
    scores = np.array([-np.inf, 0, -np.inf, 0, -np.inf], np.float32)
    assert {int(sample(scores, noise, i)[0]) for i in range(1000)} == {1, 3}


def test_a_single_candidate_is_drawn(noise):
    assert sample(np.array([-np.inf, -80, -np.inf], np.float32), noise, 0).tolist() == [1]


def first_draws(seed, prompts):
    tokens = np.arange(1)
    return [float(n.at(0, tokens)[0]) for n in sequence_noise(seed, [np.array(p) for p in prompts])]


def test_draws_follow_from_seed_and_prompt():
    alone = first_draws(1, [[5, 6]])
    assert first_draws(1, [[9], [5, 6]])[1] == alone[0]
    assert first_draws(2, [[5, 6]]) != alone


def test_the_same_prompt_twice_is_drawn_twice():
    draws = first_draws(1, [[5], [5], [5]])
    assert len(set(draws)) == 3
    assert first_draws(1, [[5], [5]]) == draws[:2]


def test_set_seed_repeats_the_draws_that_follow():
    set_seed(11)
    first = [first_draws(None, [[1]]), first_draws(None, [[1]])]
    assert first[0] != first[1]
    set_seed(11)
    assert [first_draws(None, [[1]]), first_draws(None, [[1]])] == first


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True])
def test_set_seed_refuses_other_values(seed):
    with pytest.raises(InputError, match="seed is .*; a whole number of at least 0"):
        set_seed(seed)
