"""Penalties on literal scores; tests/peers compares each with transformers' class."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.penalties import (
    EncoderNoRepeatNGramLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor,
    HammingDiversityLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

GONE = -np.inf


def tokens(*ids: int) -> np.ndarray:
    return np.array([ids], np.int64)


def scores(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def gone(processor, ids: np.ndarray, vocab: int = 8) -> list[int]:
    """Return the tokens that may not follow."""
    return np.flatnonzero(np.isneginf(processor(ids, np.zeros((1, vocab), np.float32))[0])).tolist()


def test_repetition_penalty_divides_positive_and_multiplies_negative_scores_once():
    processor = RepetitionPenaltyLogitsProcessor(2.0)
    assert processor(tokens(0, 1, 1), scores(2, -2, 2)).tolist() == [[1, -4, 2]]


def test_repetition_penalty_can_leave_out_the_prompt():
    processor = RepetitionPenaltyLogitsProcessor(2.0, prompt_ignore_length=2)
    assert processor(tokens(0, 1, 2), scores(2, 2, 2)).tolist() == [[2, 2, 1]]
    given = scores(2, 2, 2)
    assert processor(tokens(0, 1), given) is given


def test_encoder_repetition_penalty_raises_the_prompts_tokens():
    processor = EncoderRepetitionPenaltyLogitsProcessor(2.0, tokens(0, 1))
    assert processor(tokens(2), scores(2, -2, 2)).tolist() == [[4, -1, 2]]


def test_every_beam_of_a_prompt_is_held_against_it():
    processor = EncoderRepetitionPenaltyLogitsProcessor(2.0, np.array([[0], [1]]))
    processed = processor(np.zeros((4, 1), np.int64), np.ones((4, 2), np.float32))
    assert processed.tolist() == [[2, 1], [2, 1], [1, 2], [1, 2]]
    with pytest.raises(InputError, match="3 rows of scores and 2 of encoder_input_ids; a multiple"):
        processor(np.zeros((3, 1), np.int64), np.ones((3, 2), np.float32))


@pytest.mark.parametrize(
    ("size", "ids", "banned"),
    [
        (1, (3, 5), [3, 5]),
        (2, (1, 2, 1, 3, 1), [2, 3]),
        (3, (1, 2, 4, 1, 2), [4]),
        (3, (1, 2, 4, 3, 2), []),
        (3, (1,), []),
        (9, (1, 1), []),
    ],
)
def test_no_ngram_comes_twice(size, ids, banned):
    assert gone(NoRepeatNGramLogitsProcessor(size), tokens(*ids)) == banned


def test_no_ngram_of_the_prompt_comes():
    processor = EncoderNoRepeatNGramLogitsProcessor(2, tokens(1, 2, 1, 3))
    assert gone(processor, tokens(0, 1)) == [2, 3]
    assert gone(processor, tokens(0, 2)) == [1]
    assert gone(processor, tokens(0, 3)) == []
    assert gone(EncoderNoRepeatNGramLogitsProcessor(1, np.array([4, 6])), tokens(0)) == [4, 6]


def test_groups_of_beams_avoid_tokens_that_earlier_groups_chose():
    processor = HammingDiversityLogitsProcessor(0.5, num_beams=4, num_beam_groups=2)
    chosen = np.array([1, 1, 0, 0, 2, 0, 0, 0])  # of two prompts
    given = np.zeros((4, 3), np.float32)
    assert processor(tokens(0), given, chosen, 0) is given
    assert processor(tokens(0), given, chosen, 1).tolist() == [
        [0, -1, 0],
        [0, -1, 0],
        [-0.5, 0, -0.5],
        [-0.5, 0, -0.5],
    ]


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (
            lambda: RepetitionPenaltyLogitsProcessor(0.0),
            "repetition_penalty is 0.0; a number above",
        ),
        (lambda: RepetitionPenaltyLogitsProcessor(2.0, -1), "prompt_ignore_length is -1; a whole"),
        (
            lambda: EncoderRepetitionPenaltyLogitsProcessor(-1, tokens(0)),
            "encoder_repetition_penalty is -1; a number above 0 is allowed",
        ),
        (lambda: NoRepeatNGramLogitsProcessor(0), "no_repeat_ngram_size is 0; a whole number of"),
        (
            lambda: EncoderNoRepeatNGramLogitsProcessor(0, tokens(0)),
            "encoder_no_repeat_ngram_size is 0; a whole number of at least 1 is allowed",
        ),
        (lambda: HammingDiversityLogitsProcessor(0.0, 4, 2), "diversity_penalty is 0.0; a number"),
        (lambda: HammingDiversityLogitsProcessor(1.0, 1, 2), "num_beams is 1; a whole number of"),
        (
            lambda: HammingDiversityLogitsProcessor(1.0, 4, 1),
            "num_beam_groups is 1; a whole number",
        ),
        (
            lambda: HammingDiversityLogitsProcessor(1.0, 2, 3),
            "num_beam_groups is 3; at most num_beams, 2, is allowed",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(construct, message):
    with pytest.raises(InputError) as error:
        construct()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
