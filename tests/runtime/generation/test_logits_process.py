"""Logits processors on literal scores; tests/peers holds them against transformers' classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptneo_onnx.runtime.generation import logits_process
from gptneo_onnx.runtime.generation.generation_config import GenerationConfig
from gptneo_onnx.runtime.generation.logits_process import logits_processors, probabilities

NOTHING = np.array([], np.int64)
GONE = -np.inf
# A session makes its thread flush subnormal floats, which hypothesis would draw.
FLOATS = st.integers(-5000, 5000).map(lambda hundredths: hundredths / 100)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_repetition_penalty_divides_positive_and_multiplies_negative_scores():
    seen = np.array([0, 1, 1])
    processed = logits_process.repetition_penalty(seen, scores(2, -2, 2), penalty=2.0)
    assert processed.tolist() == [1, -4, 2]


def test_min_length_removes_end_tokens_until_it_is_reached():
    ids = np.array([5, 6])
    early = logits_process.min_length(ids, scores(1, 2, 3), length=3, eos_token_ids=(0, 2))
    assert early.tolist() == [GONE, 2, GONE]
    late = logits_process.min_length(ids, scores(1, 2, 3), length=2, eos_token_ids=(0, 2))
    assert late.tolist() == [1, 2, 3]


def test_temperature_divides():
    assert logits_process.temperature(NOTHING, scores(1, 2), value=0.5).tolist() == [2, 4]


def test_top_k_keeps_the_best_and_their_equals():
    assert logits_process.top_k(NOTHING, scores(1, 3, 2, 3), k=1).tolist() == [GONE, 3, GONE, 3]
    assert logits_process.top_k(NOTHING, scores(1, 2), k=9).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("p", "kept"), [(0.4, [3]), (0.6, [2, 3]), (0.85, [1, 2, 3]), (0.95, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_likeliest_that_reach_p(p, kept):
    likelihoods = scores(0.1, 0.15, 0.25, 0.5)
    processed = logits_process.top_p(NOTHING, np.log(likelihoods), p=p)
    assert np.flatnonzero(processed > GONE).tolist() == kept


def test_top_p_passes_over_what_is_gone():
    processed = logits_process.top_p(NOTHING, scores(GONE, 5, GONE), p=0.01)
    assert processed.tolist() == [GONE, 5, GONE]


@given(st.lists(FLOATS, min_size=2, max_size=40), st.data())
def test_no_processor_changes_its_input(values, data):
    config = GenerationConfig(
        do_sample=True,
        temperature=data.draw(st.integers(1, 30)) / 10,
        top_k=data.draw(st.integers(0, 50)),
        top_p=data.draw(st.integers(1, 100)) / 100,
        repetition_penalty=data.draw(st.integers(5, 20)) / 10,
        eos_token_id=0,
    )
    given_scores = scores(*values)
    ids = np.array([0, len(values) - 1])
    for processor in logits_processors(config, min_result_length=3):
        before = given_scores.copy()
        processed = processor(ids, given_scores)
        assert (given_scores == before).all()
        assert processed.dtype == np.float32
        assert (processed > GONE).any()
        given_scores = processed


def test_processors_come_in_transformers_order():
    config = GenerationConfig(
        do_sample=True, temperature=0.5, top_k=3, top_p=0.9, repetition_penalty=2, eos_token_id=1
    )
    names = [p.func.__name__ for p in logits_processors(config, min_result_length=4)]
    assert names == ["repetition_penalty", "min_length", "temperature", "top_k", "top_p"]


def test_greedy_decoding_has_no_warpers():
    config = GenerationConfig(temperature=0.5, top_p=0.5, eos_token_id=1)
    assert logits_processors(config, min_result_length=0) == []


def test_probabilities_sum_to_one():
    assert probabilities(scores(1000, 1000, GONE)).tolist() == [0.5, 0.5, 0]
