"""Rounding weights to 8, 7 or 4 bits, with a scale for each block of inputs or for each output.

The formats are those of ONNX Runtime's operators MatMulNBits, GatherBlockQuantized and
MatMulIntegerToFloat:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

Every function takes the second moments of the layer's inputs, `moments` [inputs, inputs], and
overwrites them: codes are then chosen so that they make up for each other's errors (gptq.py).
Without them, each weight gets the nearest code.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.weights.conversion import Floats
from gptneo_onnx.export.weights.gptq import compensated_codes

# The shares of a block's range that are tried, in search of the least squared error.
_RANGE_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)


@dataclass(frozen=True)
class BlockQuantized:
    """A matrix in blocks along its rows: (code - zero point) * scale.

    Attributes:
        codes: uint8 [rows, blocks, block * bits / 8]; of two in a byte, the first is the low half.
        scales: float32 [rows, blocks].
        zero_points: uint8 [rows, ceil(blocks * bits / 8)], packed like codes; None means 128.
    """

    codes: NDArray[np.uint8]
    scales: Floats
    zero_points: NDArray[np.uint8] | None


def quantize_blocks_8bit(
    weights: Floats, block: int, moments: Floats | None = None
) -> BlockQuantized:
    """Round to codes from 1 to 255 around 128.

    Weights are [rows, inputs], inputs a multiple of `block`.
    """
    scales = _symmetric_scales(weights.reshape(len(weights), -1, block), 127)
    return BlockQuantized(_symmetric_codes(weights, scales, moments, 127), scales, None)


def quantize_blocks_4bit(
    weights: Floats, block: int, moments: Floats | None = None
) -> BlockQuantized:
    """Round to codes from 0 to 15 over each block's range, narrowed so that its error is least.

    Weights are [rows, inputs], inputs a multiple of `block`.
    """
    rows = len(weights)
    blocks = weights.reshape(rows, -1, block)
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    best: tuple[Floats, Floats] | None = None
    best_error: Any = np.inf
    for share in _RANGE_SHARES:
        scales = (high - low) * np.float32(share / 15)
        inverse = _inverse(scales)
        zeros = np.clip(np.rint(-low * np.float32(share) * inverse), 0, 15)
        error = _squared_error(blocks, scales, inverse, zeros)
        if best is None:
            best = scales, zeros
        else:
            is_better = error < best_error
            best = np.where(is_better, scales, best[0]), np.where(is_better, zeros, best[1])
        best_error = np.minimum(error, best_error)
    assert best is not None
    scales, zeros = best
    if moments is None:
        codes = _codes(blocks, _inverse(scales), zeros).astype(np.uint8)
    else:
        codes = compensated_codes(weights, scales, zeros, moments, 0, 15)
    return BlockQuantized(_packed(codes), scales, _packed(zeros.astype(np.uint8)))


def _squared_error(blocks: Floats, scales: Floats, inverse: Floats, zeros: Floats) -> Floats:
    """Return each block's error, [rows, blocks]."""
    error = _codes(blocks, inverse, zeros)
    error -= zeros[..., None]
    error *= scales[..., None]
    error -= blocks
    np.square(error, out=error)
    return np.asarray(error.sum(-1))


def _codes(blocks: Floats, inverse: Floats, zeros: Floats) -> Floats:
    codes = blocks * inverse[..., None]
    np.rint(codes, out=codes)
    codes += zeros[..., None]
    return np.clip(codes, 0, 15, out=codes)


def _packed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack two 4-bit codes into a byte along the last axis, the first as its low half."""
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], axis=-1)
    return np.bitwise_or(codes[..., 0::2], np.left_shift(codes[..., 1::2], 4))


def _inverse(scales: Floats) -> Floats:
    """Return 1 / scales, or 0 where a block is all 0."""
    return np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)


@dataclass(frozen=True)
class OutputQuantized:
    """A matrix with a scale for each output: codes * scales.

    Attributes:
        codes: int8 [outputs, inputs].
        scales: float32 [outputs].
    """

    codes: NDArray[np.int8]
    scales: Floats


def quantize_outputs(
    weights: Floats, bits: int = 8, moments: Floats | None = None
) -> OutputQuantized:
    """Round to symmetric codes of 7 or 8 bits; weights are [outputs, inputs]."""
    largest = 2 ** (bits - 1) - 1
    scales = _symmetric_scales(weights[:, None], largest)  # [outputs, 1]
    codes = _symmetric_codes(weights, scales, moments, largest).reshape(weights.shape)
    codes -= np.uint8(128)  # around 0 instead, by wrapping
    return OutputQuantized(codes.view(np.int8), scales[:, 0])


def _symmetric_scales(blocks: Floats, largest: int) -> Floats:
    """Return scales [rows, blocks] with which no code is further than `largest` from the middle."""
    return np.asarray(np.maximum(blocks.max(-1), -blocks.min(-1)) / np.float32(largest))


def _symmetric_codes(
    weights: Floats, scales: Floats, moments: Floats | None, largest: int
) -> NDArray[np.uint8]:
    """Return codes [rows, blocks, block] around 128, at most `largest` from it."""
    if moments is not None:
        zeros = np.full_like(scales, 128)
        return compensated_codes(weights, scales, zeros, moments, 128 - largest, 128 + largest)
    codes = weights.reshape(*scales.shape, -1) * _inverse(scales)[..., None]
    np.rint(codes, out=codes)
    codes += np.float32(128)
    return codes.astype(np.uint8)
