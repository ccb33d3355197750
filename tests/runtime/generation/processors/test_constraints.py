"""Constraints on literal scores; tests/peers compares each with transformers' class."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.constraints import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    InfNanRemoveLogitsProcessor,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    PrefixConstrainedLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

GONE = -np.inf
MAX = float(np.finfo(np.float32).max)


def length(count: int) -> np.ndarray:
    """Return ids of a number of tokens."""
    return np.zeros((1, count), np.int64)


def scores(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_min_length_removes_end_tokens_until_it_is_reached():
    processor = MinLengthLogitsProcessor(3, (0, 2))
    assert processor(length(2), scores(1, 2, 3)).tolist() == [[GONE, 2, GONE]]
    given = scores(1, 2, 3)
    assert processor(length(3), given) is given


def test_min_new_tokens_does_not_count_the_prompt():
    processor = MinNewTokensLengthLogitsProcessor(5, 2, 1)
    assert processor(length(6), scores(1, 2, 3)).tolist() == [[1, GONE, 3]]
    assert processor(length(7), scores(1, 2, 3)).tolist() == [[1, 2, 3]]


def test_forced_bos_comes_second_and_only_then():
    processor = ForcedBOSTokenLogitsProcessor(2)
    assert processor(length(1), scores(1, 2, 3)).tolist() == [[GONE, GONE, 0]]
    assert processor(length(2), scores(1, 2, 3)).tolist() == [[1, 2, 3]]


def test_forced_eos_comes_last():
    processor = ForcedEOSTokenLogitsProcessor(4, [0, 2])
    assert processor(length(3), scores(1, 2, 3)).tolist() == [[0, GONE, 0]]
    assert processor(length(2), scores(1, 2, 3)).tolist() == [[1, 2, 3]]
    assert processor(length(4), scores(1, 2, 3)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "processor",
    [
        MinLengthLogitsProcessor(9, (50256, 10**30)),
        MinNewTokensLengthLogitsProcessor(0, 9, 50256),
        ForcedEOSTokenLogitsProcessor(4, 50256),
        ExponentialDecayLengthPenalty((0, 2.0), (50256, 50257), 1),
        MinLengthLogitsProcessor(9, ()),
    ],
)
def test_end_tokens_beyond_the_vocabulary_are_ignored(processor):
    given = scores(1, 2, 3)
    assert processor(length(3), given) is given


def test_end_tokens_within_the_vocabulary_still_count_then():
    processed = MinLengthLogitsProcessor(9, (50256, 1))(length(3), scores(1, 2, 3))
    assert processed.tolist() == [[1, GONE, 3]]


def test_suppressed_tokens_never_come():
    processor = SuppressTokensLogitsProcessor([0, 2])
    assert processor(length(1), scores(1, 2, 3)).tolist() == [[GONE, 2, GONE]]


def test_tokens_suppressed_at_the_beginning_come_later():
    processor = SuppressTokensAtBeginLogitsProcessor((0, 2), begin_index=3)
    assert processor(length(3), scores(1, 2, 3)).tolist() == [[GONE, 2, GONE]]
    assert processor(length(4), scores(1, 2, 3)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(("passed", "raised"), [(0, 4), (1, 8), (2, 16)])
def test_end_tokens_grow_exponentially_likelier(passed, raised):
    processor = ExponentialDecayLengthPenalty((2, 2.0), 1, input_ids_seq_length=3)
    assert processor(length(5 + passed), scores(1, 4, 1)).tolist() == [[1, raised, 1]]


def test_negative_scores_grow_too():
    processor = ExponentialDecayLengthPenalty((0, 2.0), 1, input_ids_seq_length=0)
    assert processor(length(2), scores(1, -4, 1)).tolist() == [[1, 8, 1]]


def test_growth_stops_at_float32s_greatest_and_leaves_minus_infinity():
    processor = ExponentialDecayLengthPenalty((0, 2.0), (0, 1, 2), input_ids_seq_length=0)
    for steps in (200, 2000):
        assert processor(length(steps), scores(GONE, 4, 0)).tolist() == [[GONE, MAX, 0]]


def test_only_tokens_that_the_function_lists_may_follow():
    asked = []

    def allowed(batch, tokens):
        asked.append((batch, tokens.tolist()))
        tokens[:] = 9  # a caller's function may do so
        return [batch]

    ids = np.array([[1], [2], [3], [4]])
    processor = PrefixConstrainedLogitsProcessor(allowed, num_beams=2)
    assert processor(ids, np.ones((4, 2), np.float32)).tolist() == [[1, GONE]] * 2 + [[GONE, 1]] * 2
    assert asked == [(0, [1]), (0, [2]), (1, [3]), (1, [4])]
    assert ids.tolist() == [[1], [2], [3], [4]]


def test_prompts_that_come_one_by_one_have_their_own_batch_id():
    processor = PrefixConstrainedLogitsProcessor(lambda batch, ids: [batch], 1, first_batch_id=2)
    assert processor(length(1), scores(1, 1, 1)).tolist() == [[GONE, GONE, 1]]


def test_invalid_values_become_valid():
    processed = InfNanRemoveLogitsProcessor()(length(1), scores(np.nan, np.inf, GONE, 1))
    assert processed.tolist() == [[0, MAX, -MAX, 1]]
    given = scores(1, 2)
    assert InfNanRemoveLogitsProcessor()(length(1), given) is given


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (ForcedBOSTokenLogitsProcessor(7), "forced_bos_token_id holds token id 7; 0 to 2 is"),
        (
            PrefixConstrainedLogitsProcessor(lambda batch, ids: [0, -1]),
            "prefix_allowed_tokens_fn's result holds token id -1; 0 to 2 is allowed",
        ),
        (
            PrefixConstrainedLogitsProcessor(lambda batch, ids: []),
            "prefix_allowed_tokens_fn allows nothing for prompt 0 after 1 tokens; it must list",
        ),
        (
            PrefixConstrainedLogitsProcessor(lambda batch, ids: [0.5]),
            "prefix_allowed_tokens_fn returned [0.5]; a list of token ids is allowed",
        ),
    ],
)
def test_tokens_beyond_the_vocabulary_are_refused(processor, message):
    with pytest.raises(InputError) as error:
        processor(length(1), scores(1, 2, 3))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: MinLengthLogitsProcessor(-1, 0), "min_length is -1; a whole number of at least 0"),
        (lambda: MinLengthLogitsProcessor(1, -5), "eos_token_id is -5; a whole number of at least"),
        (lambda: MinLengthLogitsProcessor(1, [0.5]), "eos_token_id is 0.5; a whole number of at"),
        (
            lambda: MinNewTokensLengthLogitsProcessor(-1, 1, 0),
            "prompt_length_to_skip is -1; a whole number of at least 0 is allowed",
        ),
        (
            lambda: MinNewTokensLengthLogitsProcessor(1, -1, 0),
            "min_new_tokens is -1; a whole number",
        ),
        (
            lambda: ForcedBOSTokenLogitsProcessor(None),
            "forced_bos_token_id is None; a whole number",
        ),
        (
            lambda: ForcedEOSTokenLogitsProcessor(5, [-1]),
            "forced_eos_token_id is -1; a whole number",
        ),
        (
            lambda: SuppressTokensLogitsProcessor([-2]),
            "suppress_tokens is -2; a whole number of at",
        ),
        (
            lambda: SuppressTokensAtBeginLogitsProcessor([0], -1),
            "begin_index is -1; a whole number of at least 0 is allowed",
        ),
        (
            lambda: ExponentialDecayLengthPenalty((1,), 0, 1),
            "exponential_decay_length_penalty is (1,); (start, factor) is allowed",
        ),
        (
            lambda: ExponentialDecayLengthPenalty((1.5, -0.5), 0, 1),
            "exponential_decay_length_penalty's factor is -0.5; a number of at least 0 is allowed",
        ),
        (
            lambda: PrefixConstrainedLogitsProcessor("no", 1),
            "prefix_allowed_tokens_fn is 'no'; a function of batch id and tokens",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(construct, message):
    with pytest.raises(InputError) as error:
        construct()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "processor",
    [
        SuppressTokensLogitsProcessor([1, 3, 10**30]),
        SuppressTokensAtBeginLogitsProcessor([10**30, 1], 1),
    ],
)
def test_suppressed_tokens_beyond_the_vocabulary_are_passed_over(processor):
    processed = processor(np.zeros((1, 1), np.int64), np.zeros((1, 3), np.float32))
    assert np.isneginf(processed).tolist() == [[False, True, False]]
