"""Rounding weights: codes, scales and zero points mean what ONNX Runtime's operators read."""

import numpy as np
import pytest

from gptneo_onnx.export.weights.quantization import (
    quantize_blocks_4bit,
    quantize_blocks_8bit,
    quantize_outputs,
)


def unpacked(packed):
    """Return 4-bit codes that are two in a byte, the low half first."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def values_of_4bit(quantized, shape):
    blocks = quantized.scales.shape[1]
    codes = unpacked(quantized.codes).astype(np.float32)
    zeros = unpacked(quantized.zero_points)[:, :blocks].astype(np.float32)
    return ((codes - zeros[..., None]) * quantized.scales[..., None]).reshape(shape)


def values_of_8bit(quantized, shape):
    codes = quantized.codes.astype(np.float32) - 128
    return (codes * quantized.scales[..., None]).reshape(shape)


@pytest.fixture
def weights(random):
    """Rows whose spreads differ; two of one sign, one of zeros."""
    weights = random.standard_normal((12, 96)) * np.geomspace(1e-3, 30, 12)[:, None]
    weights[3] = np.abs(weights[3])
    weights[4] = -np.abs(weights[4])
    weights[5] = 0
    weights[6, :32] = 0
    return weights.astype(np.float32)


@pytest.mark.parametrize("block", [16, 32, 96])
def test_8_bits_are_off_by_at_most_half_a_step(weights, block):
    quantized = quantize_blocks_8bit(weights, block)
    assert quantized.codes.shape == (12, 96 // block, block)
    assert quantized.codes.min() >= 1
    blocks = np.abs(weights.reshape(12, -1, block))
    assert np.allclose(quantized.scales, blocks.max(-1) / 127)
    error = np.abs(values_of_8bit(quantized, weights.shape) - weights).reshape(12, -1, block)
    assert (error <= quantized.scales[..., None] * 0.5001).all()


@pytest.mark.parametrize("block", [16, 32, 96])
def test_4_bits_hold_zero_exactly_and_are_never_far_off(weights, block):
    quantized = quantize_blocks_4bit(weights, block)
    assert quantized.codes.shape == (12, 96 // block, block // 2)
    assert quantized.zero_points.shape == (12, -(-(96 // block) // 2))
    restored = values_of_4bit(quantized, weights.shape)
    assert (restored[weights == 0] == 0).all()
    blocks = weights.reshape(12, -1, block)
    spread = np.maximum(blocks.max(-1), 0) - np.minimum(blocks.min(-1), 0)
    error = np.abs(restored.reshape(blocks.shape) - blocks)
    assert (error <= spread[..., None] * 0.26).all()  # a range narrowed to 3/4 clips a quarter


def test_the_search_is_never_worse_than_the_whole_range(weights):
    """This holds in each block: the first range that is tried is the whole one."""
    block = 32
    blocks = weights.reshape(12, -1, block)
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    scales = np.where(high > low, (high - low) / 15, 1).astype(np.float32)[..., None]
    zeros = np.rint(-low[..., None] / scales)
    plain = (np.clip(np.rint(blocks / scales) + zeros, 0, 15) - zeros) * scales
    found = values_of_4bit(quantize_blocks_4bit(weights, block), blocks.shape)
    errors = [np.square(restored - blocks).sum(-1) for restored in (found, plain)]
    assert (errors[0] <= errors[1] * 1.0001).all()
    assert errors[0].sum() < errors[1].sum()


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (7, 63)])
def test_outputs_are_off_by_at_most_half_a_step(weights, bits, largest):
    quantized = quantize_outputs(weights, bits)
    assert np.abs(quantized.codes).max() == largest
    restored = quantized.codes * quantized.scales[:, None]
    assert (np.abs(restored - weights) <= quantized.scales[:, None] * 0.5001).all()
