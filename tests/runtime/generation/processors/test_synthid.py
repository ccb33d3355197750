"""SynthID's scores as transformers 4.57 makes them; tests/peers compares many more."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.synthid import SynthIDTextWatermarkLogitsProcessor

LOWEST = float(np.finfo(np.float32).min)
UNIFORM = np.zeros((1, 4), np.float32)


def synthid(ngram_len=3, keys=(654, 400, 836), history=8, **named):
    return SynthIDTextWatermarkLogitsProcessor(ngram_len, keys, 1024, 0, history, **named)


def likelihoods(processor, ids) -> list[float]:
    return np.round(np.exp(processor(np.array([ids]), UNIFORM))[0].astype(float), 5).tolist()


def test_likelihood_moves_by_the_context_until_the_context_comes_again():
    processor = synthid()
    assert likelihoods(processor, [9]) == [0.12369, 0.61844, 0.20828, 0.04959]
    assert likelihoods(processor, [9, 3]) == [0.60938, 0.07812, 0.07812, 0.23438]
    assert likelihoods(processor, [9, 3, 3]) == [0.3125, 0.0625, 0.3125, 0.3125]
    again = np.array([[9, 3, 3, 3]])
    assert processor(again, UNIFORM) is UNIFORM


def test_a_context_that_is_forgotten_counts_as_new():
    processor = synthid(history=0)
    for ids in ([9], [9, 3], [9, 3, 3]):
        processor(np.array([ids]), UNIFORM)
    assert likelihoods(processor, [9, 3, 3, 3]) == [0.3125, 0.0625, 0.3125, 0.3125]


def test_the_first_calls_can_go_without():
    processor = synthid(skip_first_ngram_calls=True)
    assert processor(np.array([[9]]), UNIFORM) is UNIFORM
    assert processor(np.array([[9, 3]]), UNIFORM) is UNIFORM
    assert likelihoods(processor, [9, 3, 3]) == [0.3125, 0.0625, 0.3125, 0.3125]


def test_tokens_at_minus_infinity_get_the_lowest_score():
    processed = synthid()(np.array([[9]]), np.array([[0, -np.inf, 0, 0]], np.float32))
    assert processed[0, 1] == LOWEST
    assert np.exp(processed).sum() == pytest.approx(1, abs=1e-6)


def test_debug_mode_takes_all_scores_for_equal():
    scores = np.array([[5, -5, 0, 9]], np.float32)
    processed = synthid(debug_mode=True)(np.array([[9]]), scores)
    assert (processed == synthid()(np.array([[9]]), UNIFORM)).all()


def test_rows_do_not_meet():
    together = synthid()
    alone = [synthid(), synthid()]
    for ids in ([[9], [8]], [[9, 3], [8, 2]], [[9, 3, 1], [8, 2, 1]]):
        processed = together(np.array(ids), np.zeros((2, 4), np.float32))
        for row in range(2):
            assert (processed[row] == alone[row](np.array(ids[row : row + 1]), UNIFORM)).all()


def test_a_detector_finds_the_bits_and_which_of_them_count():
    processor = synthid()
    assert processor.compute_g_values(np.array([[1, 2, 3, 4]])).tolist() == [[[0, 1, 0], [0, 0, 1]]]
    mask = processor.compute_context_repetition_mask(np.array([[1, 2, 1, 2, 1, 3]]))
    assert mask.tolist() == [[True, True, False, False]]
    assert processor.compute_eos_token_mask(np.array([[1, 2, 1]]), 2).tolist() == [
        [True, False, False]
    ]
    assert processor.expected_mean_g_value(4) == 0.6875


def test_a_processor_follows_one_batch():
    processor = synthid()
    processor(np.array([[9]]), UNIFORM)
    with pytest.raises(InputError, match="there are 2 rows, and there were 1 before; construct a"):
        processor(np.array([[9], [9]]), np.zeros((2, 4), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [1], 9, 0, 9), "ngram_len is 0; a whole number from 1 to"),
        ((3, [], 9, 0, 9), r"keys is \[\]; a list of at least one whole number is allowed"),
        ((3, [0.5], 9, 0, 9), "keys is 0.5; a whole number from -"),
        (
            (3, [1], 2**24 + 1, 0, 9),
            "sampling_table_size is 16777217; a whole number from 1 to 167",
        ),
        ((3, [1], 9, -1, 9), "sampling_table_seed is -1; a whole number from 0 to"),
        ((3, [1], 9, 0, -1), "context_history_size is -1; a whole number from 0 to"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        SynthIDTextWatermarkLogitsProcessor(*arguments)
