"""Divergence against values computed by hand, and streams of chunks of different sizes."""

import math

import numpy as np
import pytest

from gptneo_onnx.runtime.evaluation.divergence import likeliest, measure, side_by_side

HALVES = np.log(np.array([[0.5, 0.5]], np.float32))
QUARTERS = np.log(np.array([[0.75, 0.25]], np.float32))


def test_a_divergence_by_hand():
    [found] = measure(HALVES + 3, QUARTERS - 40, np.array([1]))
    assert found["divergence"] == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2), rel=1e-5)
    assert found["losses"] == pytest.approx([math.log(2), math.log(4)])
    assert found["agrees"]  # of two equally likely tokens the first counts


def test_it_is_not_symmetric_and_zero_of_equals():
    forward = measure(HALVES, QUARTERS, np.array([0]))["divergence"][0]
    backward = measure(QUARTERS, HALVES, np.array([0]))["divergence"][0]
    assert forward != pytest.approx(backward, rel=0.01)
    assert measure(QUARTERS, QUARTERS, np.array([0]))["divergence"][0] == 0


def test_rows_are_measured_by_themselves(random):
    first, second = random.standard_normal((2, 11, 30)).astype(np.float32)
    targets = random.integers(0, 30, 11)
    together = measure(first, second, targets)
    for row in range(11):
        alone = slice(row, row + 1)
        assert measure(first[alone], second[alone], targets[alone]) == together[alone]
    assert (together["agrees"] == (first.argmax(1) == second.argmax(1))).all()


def test_differences_far_below_float32s_own_precision_are_seen():
    other = HALVES + np.array([[1e-6, 0]], np.float32)
    divergence = measure(HALVES, other, np.array([0]))["divergence"][0]
    assert 1e-14 < divergence < 1e-12


def test_the_likeliest_come_first():
    choices = likeliest(np.log(np.array([0.1, 0.6, 0.3], np.float32)), 2)
    assert [token for token, _ in choices] == [1, 2]
    assert [share for _, share in choices] == pytest.approx([0.6, 0.3])


def stream(*chunks):
    """Yield (window, rows, logits) of chunks (window, first, stop); a row's logit is its number."""
    for window, first, stop in chunks:
        rows = np.arange(first, stop, dtype=np.float32)[:, None] + 100 * window
        yield window, slice(first, stop), rows


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        ([(0, 0, 4)], [(0, 0, 4)], [(0, 0, 4)]),
        ([(0, 0, 4)], [(0, 0, 1), (0, 1, 4)], [(0, 0, 1), (0, 1, 4)]),
        ([(0, 0, 3), (0, 3, 5)], [(0, 0, 2), (0, 2, 5)], [(0, 0, 2), (0, 2, 3), (0, 3, 5)]),
        ([(0, 0, 2), (1, 0, 3)], [(0, 0, 2), (1, 0, 2), (1, 2, 3)],
         [(0, 0, 2), (1, 0, 2), (1, 2, 3)]),
        ([], [], []),
    ],
)  # fmt: skip
def test_streams_of_other_chunks_are_read_side_by_side(first, second, parts):
    found = [*side_by_side(stream(*first), stream(*second))]
    assert [(window, rows.start, rows.stop) for window, rows, *_ in found] == parts
    for window, rows, one, other in found:
        expected = 100 * window + np.arange(rows.start, rows.stop)
        assert one[:, 0].tolist() == other[:, 0].tolist() == expected.tolist()
