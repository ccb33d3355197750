"""Biases of sequences on literal scores; tests/peers compares them with transformers' classes."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.sequence_bias import (
    NoBadWordsLogitsProcessor,
    SequenceBiasLogitsProcessor,
)


def tokens(*ids: int) -> np.ndarray:
    return np.array([ids], np.int64)


def scores(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def gone(processor, ids: np.ndarray, vocab: int = 8) -> list[int]:
    """Return the tokens that may not follow."""
    return np.flatnonzero(np.isneginf(processor(ids, np.zeros((1, vocab), np.float32))[0])).tolist()


def test_sequence_bias_goes_to_the_token_that_completes_a_sequence():
    processor = SequenceBiasLogitsProcessor({(0,): 1.0, (5, 1): -2.0, (6, 1): 9.0, (4, 5, 1): -3.0})
    assert processor(tokens(0, 0, 5), scores(0, 0, 0, 0, 0, 0, 0)).tolist()[0][:3] == [1, -2, 0]
    assert processor(tokens(0, 4, 5), scores(0, 0, 0, 0, 0, 0, 0)).tolist()[0][:3] == [1, -5, 0]


def test_sequence_bias_takes_jsons_form():
    processor = SequenceBiasLogitsProcessor([[[5, 1], -2.0], [[0], 1]])
    assert processor.sequence_bias == {(5, 1): -2.0, (0,): 1.0}


def test_a_sequence_as_long_as_the_text_and_one_more_does_not_count_yet():
    given = scores(0, 0, 0)
    assert SequenceBiasLogitsProcessor({(1, 2): 5.0})(tokens(1), given) is given


def test_each_row_has_its_own_biases():
    processor = SequenceBiasLogitsProcessor({(1, 2): 5.0})
    processed = processor(np.array([[0, 1], [0, 0]]), np.zeros((2, 3), np.float32))
    assert processed.tolist() == [[0, 0, 5], [0, 0, 0]]


def test_bad_words_are_never_completed():
    processor = NoBadWordsLogitsProcessor([[4], [1, 2], [1, 3, 5]])
    assert gone(processor, tokens(0, 0)) == [4]
    assert gone(processor, tokens(0, 1)) == [2, 4]
    assert gone(processor, tokens(0, 1, 3)) == [4, 5]


def test_an_end_token_alone_is_no_bad_word():
    assert gone(NoBadWordsLogitsProcessor([[4], [6]], eos_token_id=6), tokens(0)) == [4]
    assert gone(NoBadWordsLogitsProcessor([[4], [6]], eos_token_id=(6, 4)), tokens(0)) == []


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (
            SequenceBiasLogitsProcessor({(1, 9): 1.0}),
            "sequence_bias holds token id 9; 0 to 7 is allowed",
        ),
        (NoBadWordsLogitsProcessor([[8]]), "bad_words_ids holds token id 8; 0 to 7 is allowed"),
    ],
)
def test_tokens_beyond_the_vocabulary_are_refused(processor, message):
    with pytest.raises(InputError) as error:
        gone(processor, tokens(0))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: SequenceBiasLogitsProcessor({}), "sequence_bias is {}; {(id, ...): bias} or"),
        (lambda: SequenceBiasLogitsProcessor([[[1]]]), "sequence_bias holds [[1]]; [[id, ...], bi"),
        (lambda: SequenceBiasLogitsProcessor({(): 1.0}), "sequence_bias holds (); a list of at"),
        (lambda: SequenceBiasLogitsProcessor({(-1,): 1.0}), "sequence_bias is -1; a whole number"),
        (
            lambda: SequenceBiasLogitsProcessor({(1, 2): np.nan}),
            "sequence_bias of (1, 2) is nan; a number is allowed",
        ),
        (lambda: NoBadWordsLogitsProcessor([]), "bad_words_ids is []; a list of lists of token"),
        (lambda: NoBadWordsLogitsProcessor([3]), "bad_words_ids holds 3; a list of at least one"),
        (lambda: NoBadWordsLogitsProcessor([[]]), "bad_words_ids holds []; a list of at least one"),
        (lambda: NoBadWordsLogitsProcessor([["a"]]), "bad_words_ids is 'a'; a whole number of at"),
    ],
)
def test_arguments_out_of_range_are_refused(construct, message):
    with pytest.raises(InputError) as error:
        construct()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
