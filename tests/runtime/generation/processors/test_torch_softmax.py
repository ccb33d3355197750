"""PyTorch's softmax without PyTorch; tests/peers compares it bit for bit."""

import numpy as np
import pytest

from gptneo_onnx.runtime.generation.processors.torch_softmax import (
    cumulative_softmax,
    rounding,
    torch_softmax,
)


@pytest.mark.parametrize("vocab", [1, 7, 16, 50, 5000])
def test_it_is_the_softmax_within_rounding(random, vocab):
    row = random.normal(size=vocab, scale=5).astype(np.float32)
    row[random.random(vocab) < 0.2] = -np.inf
    row[0] = 3
    exact = np.exp((row - row.max()).astype(np.float64))
    exact /= exact.sum()
    np.testing.assert_allclose(torch_softmax(row), exact, rtol=rounding(row), atol=1e-38)
    np.testing.assert_allclose(cumulative_softmax(row), np.cumsum(exact), rtol=1e-6)


def test_bits_that_pytorch_gave_with_avx512():
    row = np.arange(20, dtype=np.float32) * np.float32(-1.7)
    assert [float(each).hex() for each in torch_softmax(row)[:4]] == [
        "0x1.a277520000000p-1",
        "0x1.31c9940000000p-3",
        "0x1.bee60a0000000p-6",
        "0x1.46905e0000000p-8",
    ]
