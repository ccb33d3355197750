"""Rounding weights one input after the other, the rest making up for each one's error.

GPTQ (https://arxiv.org/abs/2210.17323) in the form of Babai's nearest plane
(https://arxiv.org/abs/2507.18553), which needs one Cholesky factor and no inverse: the squared
error of a layer's results, (w - q)^T H (w - q) with H the second moments of its inputs, is
||R (w - q)||^2 with H = R^T R. From the last input to the first, each row of R leaves one choice.
(Below, R is the transpose of a lower triangle, its rows divided by their diagonal.)
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Added to the moments' diagonal, as a share of its mean; more only where they are too singular.
_DAMPINGS = (0.01, 0.1, 1.0, 1000.0)
_COLUMNS = 512  # factorized at once


def compensated_codes(
    weights: Floats, scales: Floats, zeros: Floats, moments: Floats, least: int, largest: int
) -> NDArray[np.uint8]:
    """Codes [rows, blocks, block] of weights [rows, inputs], within two bounds.

    Args:
        scales, zeros: [rows, blocks]; a code stands for (code - zero) * scale.
        moments: [inputs, inputs], the mean of x x^T over the layer's inputs x; overwritten.
    """
    rows, blocks = scales.shape
    by_input = np.ascontiguousarray(weights.T)  # [inputs, rows], as everything below
    block = len(by_input) // blocks
    lower = _factorize(moments)
    lower /= lower.diagonal().copy()
    errors = np.zeros_like(by_input)
    codes = np.empty(by_input.shape, np.uint8)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    for index in reversed(range(blocks)):
        start, stop = index * block, (index + 1) * block
        wanted = by_input[start:stop] + lower[stop:, start:stop].T @ errors[stop:]
        scale, zero = scales[:, index], zeros[:, index]
        for i in reversed(range(start, stop)):
            shifted = wanted[i - start] + lower[i + 1 : stop, i] @ errors[i + 1 : stop]
            code = np.clip(np.rint(shifted * inverse[:, index]) + zero, least, largest)
            codes[i] = code
            errors[i] = by_input[i] - (code - zero) * scale
    return np.ascontiguousarray(codes.T).reshape(rows, blocks, block)


def _factorize(moments: Floats) -> Floats:
    """The Cholesky factor, in place, in the lower triangle; what is above it means nothing.

    numpy's own would take five more matrices of this size, in float64.
    """
    mean = float(moments.diagonal().mean()) or 1.0
    for start in range(0, len(moments), _COLUMNS):
        stop = start + _COLUMNS
        columns = moments[start:, start:stop]
        columns -= moments[start:, :start] @ moments[start:stop, :start].T
        corner = _factorize_corner(columns[:_COLUMNS].astype(np.float64), mean)
        columns[_COLUMNS:] = columns[_COLUMNS:] @ np.linalg.inv(corner).T.astype(np.float32)
        columns[:_COLUMNS] = corner
    return moments


def _factorize_corner(corner: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    for damping in _DAMPINGS:
        try:
            return np.asarray(np.linalg.cholesky(corner + damping * mean * np.eye(len(corner))))
        except np.linalg.LinAlgError:
            continue
    raise AssertionError("second moments, damped a thousandfold, are positive definite")
