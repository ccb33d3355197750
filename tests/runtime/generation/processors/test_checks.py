"""Checks of numbers and token ids; the processors' tests have the messages of each argument."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.checks import (
    check_number,
    is_number,
    is_whole_number,
    known_tokens,
    plain,
    tokens_within,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2]]), ((1, 2),)),
        ([1, (np.int64(2), "ab")], (1, (2, "ab"))),
        ("ab", "ab"),
        (b"ab", b"ab"),
        (None, None),
        ({1: [2]}, {1: [2]}),
    ],
    ids=str,
)
def test_numpys_values_and_sequences_become_plain(value, expected):
    made = plain(value)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("value", "is_whole", "is_real"),
    [
        (1, True, True),
        (np.uint8(1), True, True),
        (1.0, False, True),
        (np.float32(1), False, True),
        (True, False, False),
        (np.bool_(True), False, False),
        (1j, False, False),
        (np.complex64(1), False, False),
        ("1", False, False),
        (None, False, False),
    ],
    ids=repr,
)
def test_which_values_are_numbers(value, is_whole, is_real):
    assert is_whole_number(value) is is_whole
    assert is_number(value) is is_real


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e39, 10**400, np.complex64(1)], ids=repr)
def test_a_number_must_fit_into_float32(value):
    with pytest.raises(InputError, match="^bias is .*; a finite number is allowed$"):
        check_number("bias", value)


def test_tokens_beyond_the_vocabulary_are_refused_and_end_tokens_ignored():
    assert known_tokens("ids", (3, 0), 4).tolist() == [3, 0]
    for token in (4, -1):
        with pytest.raises(InputError, match=f"^ids holds token id {token}; 0 to 3 is allowed$"):
            known_tokens("ids", [0, token], 4)
    assert tokens_within((9, 3, 10**30), 4).tolist() == [3]
    assert tokens_within(2, 4).tolist() == [2]
