"""Draws of torch 2.13's CPU generator; tests/peers compares many more."""

import numpy as np
import pytest

from gptneo_onnx.runtime.generation.processors.torch_random import (
    randint_bits,
    randperm,
    randperm_start,
)


def test_randperm_is_torchs():
    assert randperm(42, 10).tolist() == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]
    assert randperm(0, 50257)[:6].tolist() == [32487, 28000, 28825, 16393, 15419, 19980]


def test_randint_is_torchs():
    assert randint_bits(3, 16).tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1]


def test_only_the_seeds_low_32_bits_count():
    assert (randperm(2**32 + 42, 10) == randperm(42, 10)).all()


@pytest.mark.parametrize(("n", "count"), [(1, 0), (1, 1), (10, 0), (10, 4), (10, 10), (999, 333)])
def test_the_start_of_a_permutation_without_shuffling(n, count):
    assert np.flatnonzero(randperm_start(42, n, count)).tolist() == sorted(randperm(42, n)[:count])
