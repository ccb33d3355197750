"""Pooling on literal numbers."""

import numpy as np
import pytest

from gptneo_onnx.runtime.pipelines.pooling import POOLINGS, pool

STATES = np.array([[3, 4], [0, 2]], np.float32)


@pytest.mark.parametrize(
    ("pooling", "normalize", "features"),
    [
        ("none", False, [[[3, 4], [0, 2]]]),
        ("none", True, [[[0.6, 0.8], [0, 1]]]),
        ("mean", False, [1.5, 3]),
        ("mean", True, [1 / np.sqrt(5), 2 / np.sqrt(5)]),
        ("last_token", False, [0, 2]),
        ("last_token", True, [0, 1]),
    ],
)
def test_every_pooling(pooling, normalize, features):
    found = pool(STATES, pooling, normalize)
    assert pooling in POOLINGS
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, features, rtol=1e-6)


def test_a_vector_of_zeros_stays_one():
    assert (pool(STATES * 0, "mean", normalize=True) == 0).all()


def test_a_mean_is_summed_in_float64():
    states = np.full((2**18, 1), 0.1, np.float32)
    assert pool(states, "mean", normalize=False)[0] == np.float32(0.1)


def test_features_do_not_keep_the_steps_output_alive():
    assert pool(STATES, "last_token", normalize=False).base is None
