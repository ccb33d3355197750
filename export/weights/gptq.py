"""Rounding a layer's weights input by input, so that later codes make up for earlier errors.

GPTQ (https://arxiv.org/abs/2210.17323) in the form of Babai's nearest plane
(https://arxiv.org/abs/2507.18553), which needs one Cholesky factor and no inverse: the squared
error of a layer's results, (w - q)^T H (w - q) with H the second moments of its inputs, is
||R (w - q)||^2 with H = R^T R and R an upper triangle. So codes are chosen from the last input to
the first: row i of R has only input i and those after it, whose codes are known by then.
(Below, R is held as its transpose, a lower triangle, with each column divided by its diagonal.)
"""

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.weights.conversion import Floats

# Added to the moments' diagonal, as shares of its mean; the larger ones where they are singular.
_DAMPINGS = (0.01, 0.1, 1.0, 1000.0)
_COLUMNS = 512  # factorized at a time


def compensated_codes(
    weights: Floats, scales: Floats, zeros: Floats, moments: Floats, lowest: int, highest: int
) -> NDArray[np.uint8]:
    """Choose codes [rows, blocks, block] that change a layer's results least.

    Args:
        weights: [rows, inputs].
        scales, zeros: [rows, blocks]; a code stands for (code - zero) * scale.
        moments: [inputs, inputs], the mean of x x^T over the layer's inputs x; overwritten.
        lowest, highest: bounds of the codes.
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
        targets = by_input[start:stop] + lower[stop:, start:stop].T @ errors[stop:]
        scale, zero = scales[:, index], zeros[:, index]
        for i in reversed(range(start, stop)):
            target = targets[i - start] + lower[i + 1 : stop, i] @ errors[i + 1 : stop]
            code = np.clip(np.rint(target * inverse[:, index]) + zero, lowest, highest)
            codes[i] = code
            errors[i] = by_input[i] - (code - zero) * scale
    return np.ascontiguousarray(codes.T).reshape(rows, blocks, block)


def _factorize(moments: Floats) -> Floats:
    """Replace the lower triangle by the Cholesky factor; the upper one is left undefined.

    numpy's own function would take five more matrices of this size, in float64.
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
