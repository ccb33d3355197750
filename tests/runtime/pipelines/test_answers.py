"""From the logits of an answer's ends to spans, on literal logits."""

import numpy as np
import pytest

from gptneo_onnx.runtime.pipelines.answers import best_spans

ALL = np.ones(5, np.bool_)


def logits(starts, ends):
    """Logits [5, 2] of which some tokens have much more than the others."""
    found = np.zeros((5, 2), np.float32)
    for column, values in enumerate((starts, ends)):
        for token, value in values.items():
            found[token, column] = value
    return found


def spans(starts, ends, allowed=ALL, count=1, longest=15):
    found, _ = best_spans(logits(starts, ends), allowed, count, longest)
    return [(span.first, span.last) for span in found]


def test_the_best_span_has_the_likeliest_ends():
    found, _ = best_spans(logits({1: 20}, {3: 20}), ALL, 1, 15)
    assert [(found[0].first, found[0].last)] == [(1, 3)]
    assert found[0].score == pytest.approx(1, abs=1e-5)


def test_no_span_ends_before_it_begins():
    assert spans({3: 20, 1: 10}, {2: 20}) == [(1, 2)]


def test_no_span_is_longer_than_allowed():
    assert spans({1: 20}, {4: 20, 2: 10}, longest=2) == [(1, 2)]


def test_tokens_outside_the_context_are_no_answer():
    allowed = np.array([False, False, True, True, True])
    assert spans({1: 20, 2: 10}, {3: 20}, allowed) == [(2, 3)]


def test_spans_come_in_the_order_of_their_scores():
    assert spans({1: 20, 2: 19}, {3: 20, 4: 15}, count=3) == [(1, 3), (2, 3), (1, 4)]


def test_more_spans_than_there_are_may_be_asked_for():
    assert len(spans({1: 20}, {3: 20}, count=100)) == 25


def test_the_first_token_stands_for_no_answer():
    found, no_answer = best_spans(logits({0: 20}, {0: 20}), ALL, 1, 15)
    assert no_answer == pytest.approx(1, abs=1e-5)
    assert (found[0].first, found[0].last) != (0, 0)
