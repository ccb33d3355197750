"""Presence and frequency penalties, as OpenAI defines them: of what was generated alone."""

import numpy as np
import pytest

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.generation.processors.output_penalties import (
    FrequencyPenaltyLogitsProcessor,
    PresencePenaltyLogitsProcessor,
)

SCORES = np.array([[1.0, -1.0, 0.0, 5.0]], np.float32)
# The prompt is 3, 3; then 1, 0 and 1 are generated.
IDS = np.array([[3, 3, 1, 0, 1]])


def test_presence_is_penalized_once():
    processed = PresencePenaltyLogitsProcessor(0.5, prompt_length=2)(IDS, SCORES)
    assert processed.tolist() == [[0.5, -1.5, 0.0, 5.0]]
    assert processed.dtype == np.float32


def test_frequency_is_penalized_each_time():
    processed = FrequencyPenaltyLogitsProcessor(0.5, prompt_length=2)(IDS, SCORES)
    assert processed.tolist() == [[0.5, -2.0, 0.0, 5.0]]


def test_a_penalty_below_zero_rewards():
    processed = FrequencyPenaltyLogitsProcessor(-1, prompt_length=2)(IDS, SCORES)
    assert processed.tolist() == [[2.0, 1.0, 0.0, 5.0]]


def test_rows_are_penalized_by_their_own_tokens():
    ids = np.array([[3, 0], [3, 2]])
    scores = np.zeros((2, 4), np.float32)
    processed = PresencePenaltyLogitsProcessor(1, prompt_length=1)(ids, scores)
    assert processed.tolist() == [[-1, 0, 0, 0], [0, 0, -1, 0]]


@pytest.mark.parametrize("kind", [PresencePenaltyLogitsProcessor, FrequencyPenaltyLogitsProcessor])
def test_nothing_changes_without_generated_tokens_or_penalty(kind):
    assert kind(1.5, prompt_length=5)(IDS, SCORES) is SCORES
    assert kind(0, prompt_length=0)(IDS, SCORES) is SCORES


def test_what_fills_up_a_finished_row_may_be_unknown():
    ids = np.array([[3, 1, 9]])
    processed = PresencePenaltyLogitsProcessor(1, prompt_length=1)(ids, SCORES)
    assert processed.tolist() == [[1.0, -2.0, 0.0, 5.0]]


def test_a_wrong_penalty_is_named():
    with pytest.raises(InputError, match="presence_penalty is nan; a finite number is allowed"):
        PresencePenaltyLogitsProcessor(float("nan"), prompt_length=0)
    with pytest.raises(InputError, match="prompt_length is -1; a whole number of at least 0"):
        FrequencyPenaltyLogitsProcessor(1, prompt_length=-1)
