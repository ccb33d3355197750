"""Draws without warping a whole vocabulary: the token that warpers and sample() give."""

import numpy as np
import pytest

from gptneo_onnx.runtime.generation.noise import TokenNoise, sample
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList
from gptneo_onnx.runtime.generation.processors.warpers import (
    EtaLogitsWarper,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from gptneo_onnx.runtime.generation.strategies.quick_draw import QuickDraw

IDS = np.zeros((1, 1), np.int64)
CHAINS = {
    "none": [],
    "temperature": [TemperatureLogitsWarper(0.7)],
    "top_k": [TopKLogitsWarper(50)],
    "top_k of one": [TopKLogitsWarper(1)],
    "top_p": [TopPLogitsWarper(0.95)],
    "little top_p": [TemperatureLogitsWarper(1.4), TopPLogitsWarper(0.1)],
    "top_p of 0": [TopPLogitsWarper(0.0)],
    "min_p": [MinPLogitsWarper(0.05)],
    "all": [
        TemperatureLogitsWarper(0.8),
        TopKLogitsWarper(300),
        TopPLogitsWarper(0.9),
        MinPLogitsWarper(0.01),
    ],
}


@pytest.fixture
def noise(random):
    return TokenNoise([int(random.integers(2**63)), 0])


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
@pytest.mark.parametrize("spread", [0.0, 0.01, 1.5, 6.0, 40.0])
@pytest.mark.parametrize("vocab", [7, 301, 50257])
def test_the_token_is_what_the_warpers_and_sample_give(random, noise, chain, spread, vocab):
    warpers = LogitsProcessorList(chain)
    draw = QuickDraw.of(warpers, noise)
    answers = 0
    for position in range(40):
        scores = (spread * random.normal(size=vocab)).astype(np.float32)
        if position % 3 == 0:
            scores[random.random(vocab) < 0.3] = -np.inf
            scores[random.integers(vocab)] = 0
        if position % 4 == 0:
            scores = np.round(scores)  # many are equal
        before = scores.copy()
        token = draw(scores, position)
        assert np.array_equal(scores, before)
        if token is not None:
            answers += 1
            [expected] = sample(warpers(IDS, scores[None])[0], noise, position)
            assert token == expected
    # Where likelihoods differ, hardly any draw is left to the warpers.
    assert answers >= 25 or spread < 0.1 or vocab == 7 or chain == CHAINS["top_p of 0"]


def test_without_noise_it_is_the_likeliest_token(random):
    scores = random.normal(size=301).astype(np.float32)
    assert QuickDraw.of(LogitsProcessorList(), None)(scores, 3) == scores.argmax()


def test_other_warpers_and_orders_are_left_to_themselves(noise):
    for chain in (
        [EtaLogitsWarper(0.1)],
        [TopPLogitsWarper(0.9), TemperatureLogitsWarper(0.9)],
        [TopPLogitsWarper(0.9), TopPLogitsWarper(0.9)],
        [TopPLogitsWarper(0.9, min_tokens_to_keep=2)],
        [TopKLogitsWarper(9, filter_value=-100.0)],
        [lambda ids, scores: scores],
    ):
        assert QuickDraw.of(LogitsProcessorList(chain), noise) is None


def test_scores_that_cannot_be_drawn_from_are_left_to_sample(noise):
    draw = QuickDraw.of(LogitsProcessorList(), noise)
    for value in (np.nan, np.inf):
        assert draw(np.array([0, value, 1], np.float32), 0) is None
    assert draw(np.full(5, -np.inf, np.float32), 0) is None
    assert draw(np.zeros(5), 0) is None  # float64
