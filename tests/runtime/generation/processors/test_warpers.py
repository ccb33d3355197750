"""Warpers on literal scores; tests/peers compares each with transformers' class."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.warpers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitNormalization,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

GONE = -np.inf
NOTHING = np.zeros((1, 0), np.int64)


def scores(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def likelihoods(*values: float) -> np.ndarray:
    return np.log(scores(*values))


def kept(warper, given: np.ndarray) -> list[int]:
    """Return the tokens of the only row that a warper keeps, with unchanged scores."""
    processed = warper(NOTHING, given)
    left = np.flatnonzero(processed[0] > GONE)
    assert (processed[0, left] == given[0, left]).all()
    return left.tolist()


def test_temperature_divides():
    assert TemperatureLogitsWarper(0.5)(NOTHING, scores(1, 2)).tolist() == [[2, 4]]


def test_top_k_keeps_the_best_and_their_equals():
    assert kept(TopKLogitsWarper(1), scores(1, 3, 2, 3)) == [1, 3]
    assert kept(TopKLogitsWarper(3), scores(1, 3, 2, 3)) == [1, 2, 3]


def test_top_k_keeps_all_of_fewer_tokens():
    assert kept(TopKLogitsWarper(9), scores(1, 2)) == [0, 1]
    assert kept(TopKLogitsWarper(2), scores(GONE, 5, GONE)) == [1]


@pytest.mark.parametrize(
    ("p", "left"), [(0.4, [3]), (0.6, [2, 3]), (0.85, [1, 2, 3]), (0.95, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_likeliest_that_reach_p(p, left):
    assert kept(TopPLogitsWarper(p), likelihoods(0.1, 0.15, 0.25, 0.5)) == left


def test_top_p_drops_of_equals_the_first():
    assert kept(TopPLogitsWarper(0.5), scores(1, 1, 1, 1)) == [2, 3]


def test_top_p_ignores_tokens_at_minus_infinity():
    assert kept(TopPLogitsWarper(0.01), scores(GONE, 5, GONE)) == [1]


@pytest.mark.parametrize(("p", "left"), [(0.0, [0, 1, 2]), (0.3, [1, 2]), (0.6, [2]), (1.0, [2])])
def test_min_p_measures_by_the_likeliest(p, left):
    assert kept(MinPLogitsWarper(p), likelihoods(0.125, 0.25, 0.625)) == left


def test_typical_prefers_the_expected_surprise_to_the_likeliest():
    # Entropy 1.15 nats; surprises 0.69, 1.2, 2.3, 2.3: in order of distance 1, 0, then 2 and 3.
    given = likelihoods(0.5, 0.3, 0.1, 0.1)
    assert kept(TypicalLogitsWarper(0.2), given) == [1]
    assert kept(TypicalLogitsWarper(0.6), given) == [0, 1]
    assert kept(TypicalLogitsWarper(0.85), given) == [0, 1, 2, 3]


def test_epsilon_is_a_least_likelihood():
    assert kept(EpsilonLogitsWarper(0.2), likelihoods(0.1, 0.3, 0.6)) == [1, 2]
    assert kept(EpsilonLogitsWarper(0.9), likelihoods(0.1, 0.3, 0.6)) == [2]


def test_eta_falls_below_epsilon_where_much_is_possible():
    # Entropy log 4: the bound is sqrt(0.25) / 4.
    assert kept(EtaLogitsWarper(0.25), likelihoods(0.24, 0.26, 0.25, 0.25)) == [0, 1, 2, 3]
    assert kept(EpsilonLogitsWarper(0.245), likelihoods(0.24, 0.26, 0.25, 0.25)) == [1, 2, 3]
    assert kept(EtaLogitsWarper(0.25), likelihoods(0.05, 0.95)) == [1]


def test_normalization_makes_the_likelihoods_sum_to_one():
    processed = LogitNormalization()(NOTHING, scores(3, 3, GONE))
    np.testing.assert_allclose(np.exp(processed), [[0.5, 0.5, 0]], rtol=1e-6)


CUTS = [
    TopKLogitsWarper(1, -5.0, 2),
    TopPLogitsWarper(0.01, -5.0, 2),
    MinPLogitsWarper(1.0, -5.0, 2),
    TypicalLogitsWarper(0.01, -5.0, 2),
    EpsilonLogitsWarper(0.99, -5.0, 2),
    EtaLogitsWarper(0.99, -5.0, 2),
]


@pytest.mark.parametrize("warper", CUTS, ids=lambda warper: type(warper).__name__)
def test_cuts_keep_min_tokens_and_fill_with_filter_value(warper):
    given = scores(1, 2, 3, 4)
    processed = warper(NOTHING, given)
    assert np.count_nonzero(processed == -5) == 2
    assert np.count_nonzero(processed == given) == 2


@pytest.mark.parametrize("warper", CUTS, ids=lambda warper: type(warper).__name__)
def test_rows_do_not_meet(warper, random):
    batch = random.normal(scale=3, size=(4, 50)).astype(np.float32)
    batch[random.random(batch.shape) < 0.3] = GONE
    together = warper(NOTHING, batch)
    for row in range(4):
        assert (warper(NOTHING, batch[row : row + 1]) == together[row]).all()


@pytest.mark.parametrize(
    "warper",
    [
        TemperatureLogitsWarper(1.0),
        TopKLogitsWarper(3),
        TopPLogitsWarper(1.0),
        MinPLogitsWarper(0.0),
        TypicalLogitsWarper(0.99),
        EpsilonLogitsWarper(0.01),
        EtaLogitsWarper(0.01),
    ],
    ids=lambda warper: type(warper).__name__,
)
def test_scores_that_stay_are_handed_back_uncopied(warper):
    given = scores(1, 1, 1)
    assert warper(NOTHING, given) is given


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (
            lambda: TemperatureLogitsWarper(0.0),
            "temperature is 0; a number above 0 is allowed; for greedy decoding pass do_sample",
        ),
        (lambda: TemperatureLogitsWarper(-1.0), "temperature is -1.0; a number above 0 is allowed"),
        (lambda: TemperatureLogitsWarper("hot"), "temperature is 'hot'; a number above 0"),
        (lambda: TopKLogitsWarper(0), "top_k is 0; a whole number of at least 1 is allowed"),
        (lambda: TopKLogitsWarper(2.0), "top_k is 2.0; a whole number of at least 1 is allowed"),
        (lambda: TopKLogitsWarper(None), "top_k is None; a whole number of at least 1"),
        (lambda: TopPLogitsWarper(1.1), "top_p is 1.1; a number of at least 0 and of at most 1"),
        (lambda: TopPLogitsWarper(np.nan), "top_p is nan; a number of at least 0 and of at most 1"),
        (lambda: MinPLogitsWarper(-1), "min_p is -1; a number of at least 0 and of at most 1"),
        (lambda: TypicalLogitsWarper(1.0), "typical_p is 1.0; a number above 0 and below 1"),
        (lambda: EpsilonLogitsWarper(0.0), "epsilon_cutoff is 0.0; a number above 0 and below 1"),
        (lambda: EtaLogitsWarper(1), "eta_cutoff is 1; a number above 0 and below 1"),
        (lambda: TopPLogitsWarper(0.5, GONE, 0), "min_tokens_to_keep is 0; a whole number"),
    ],
)
def test_arguments_out_of_range_are_refused(construct, message):
    with pytest.raises(InputError) as error:
        construct()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_tail_that_equals_its_share_is_dropped():
    """As in transformers: 0.1 + 0.1 is not more than 1 - 0.8, whatever the rounding."""
    given = np.log(np.array([[0.3, 0.1, 0.1, 0.5], [0.15, 0.3, 0.3, 0.25]], np.float32))
    processed = TopPLogitsWarper(0.8)(np.zeros((2, 1), np.int64), given)
    assert np.isneginf(processed).tolist() == [[False, True, True, False], [True] + [False] * 3]
