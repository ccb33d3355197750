"""Codes that make up for each other's errors, compared with the nearest and with the best ones."""

import itertools

import numpy as np
import pytest

from gptneo_onnx.export.weights.gptq import compensated_codes
from gptneo_onnx.export.weights.quantization import (
    quantize_blocks_4bit,
    quantize_blocks_8bit,
    quantize_outputs,
)


def correlated_inputs(random, tokens, inputs):
    """Draw inputs that mostly follow a few hidden causes, as a model's do."""
    causes = random.standard_normal((tokens, max(1, inputs // 8)))
    mixed = causes @ random.standard_normal((causes.shape[1], inputs))
    return (mixed + 0.1 * random.standard_normal(mixed.shape)).astype(np.float32)


def second_moments(x):
    return x.T @ x / len(x)


def nearest(weights, scales, zeros, lowest, highest):
    blocks = weights.reshape(*scales.shape, -1)
    codes = np.rint(blocks / scales[..., None]) + zeros[..., None]
    return np.clip(codes, lowest, highest)


def output_error(codes, scales, zeros, weights, x):
    restored = ((codes.astype(np.float64) - zeros[..., None]) * scales[..., None]).reshape(
        weights.shape
    )
    return np.square(x @ (restored - weights).T).mean()


@pytest.fixture
def layer(random):
    """Weights [24, 96] in blocks of 32, their scales and zero points, and inputs [2000, 96]."""
    weights = random.standard_normal((24, 96)).astype(np.float32)
    scales = random.uniform(0.2, 0.4, (24, 3)).astype(np.float32)
    zeros = random.integers(5, 11, (24, 3)).astype(np.float32)
    return weights, scales, zeros, correlated_inputs(random, 2000, 96)


def test_results_change_far_less_than_with_the_nearest_codes(layer):
    weights, scales, zeros, x = layer
    found = compensated_codes(weights, scales, zeros, second_moments(x), 0, 15)
    assert found.shape == (24, 3, 32)
    plain = nearest(weights, scales, zeros, 0, 15)
    errors = [output_error(codes, scales, zeros, weights, x) for codes in (found, plain)]
    assert errors[0] < 0.3 * errors[1]


def test_uncorrelated_inputs_get_the_nearest_codes(layer):
    weights, scales, zeros, _ = layer
    diagonal = np.diag(np.linspace(1, 50, 96)).astype(np.float32)
    found = compensated_codes(weights, scales, zeros, diagonal, 3, 12)
    assert (found == nearest(weights, scales, zeros, 3, 12)).all()


def test_two_inputs_get_nearly_the_best_codes(random):
    """Nearly the same input twice: their errors have to cancel."""
    x = random.standard_normal((500, 1)) + 0.05 * random.standard_normal((500, 2))
    weights = random.uniform(-1, 1, (40, 2)).astype(np.float32)
    scales, zeros = np.full((40, 1), 0.5, np.float32), np.full((40, 1), 8, np.float32)
    moments = second_moments(x.astype(np.float32))
    found = compensated_codes(weights, scales, zeros, moments, 0, 15)
    choices = [np.array([[pair]]) for pair in itertools.product(range(4, 13), repeat=2)]
    for row in range(40):
        parts = scales[row : row + 1], zeros[row : row + 1], weights[row : row + 1], x
        best = min(output_error(pair, *parts) for pair in choices)
        plain = output_error(nearest(weights[row : row + 1], *parts[:2], 0, 15), *parts)
        assert output_error(found[row : row + 1], *parts) <= min(plain, best * 1.2 + 1e-3)


@pytest.mark.parametrize("moments", ["zeros", "one token", "one input never used"])
def test_moments_of_any_rank_are_taken(random, layer, moments):
    weights, scales, zeros, x = layer
    seen = {
        "zeros": np.zeros_like(x[:1]),
        "one token": x[:1] * 1e6,
        "one input never used": x * (np.arange(96) != 40),
    }[moments]
    found = compensated_codes(weights, scales, zeros, second_moments(seen), 0, 15)
    plain = nearest(weights, scales, zeros, 0, 15)
    errors = [output_error(codes, scales, zeros, weights, seen) for codes in (found, plain)]
    assert errors[0] <= errors[1]


def test_weights_of_zero_stay_zero(random):
    weights = np.zeros((4, 32), np.float32)
    codes = compensated_codes(
        weights, np.zeros((4, 1), np.float32), np.full((4, 1), 8, np.float32), np.eye(32), 0, 15
    )
    assert (codes == 8).all()


@pytest.mark.parametrize(
    ("quantize", "bounds"),
    [
        (lambda w, m: quantize_blocks_8bit(w, 32, m).codes, (1, 255)),
        (lambda w, m: quantize_outputs(w, 8, m).codes, (-127, 127)),
        (lambda w, m: quantize_outputs(w, 7, m).codes, (-63, 63)),
        (lambda w, m: quantize_blocks_4bit(w, 32, m).codes, (0, 255)),
    ],
)
def test_every_format_keeps_to_its_range_of_codes(layer, quantize, bounds):
    weights, _, _, x = layer
    codes = quantize(weights, second_moments(x))
    assert codes.min() >= bounds[0]
    assert codes.max() <= bounds[1]
    assert (codes != quantize(weights, None)).any()
