"""Rounding weights one input after the other, the rest making up for each one's error.

GPTQ (https://arxiv.org/abs/2210.17323) in the form of Babai's nearest plane
(https://arxiv.org/abs/2507.18553), which needs one Cholesky factor and no inverse: the squared
error of a layer's results, (w - q)^T H (w - q) with H the second moments of its inputs, is
||R (w - q)||^2 with H = R^T R. From the last input to the first, each row of R leaves one choice.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Added to the moments' diagonal, as a share of its mean; more only where they are too singular.
_DAMPINGS = (0.01, 0.1, 1.0, 10.0)


def compensated_codes(
    weights: Floats, scales: Floats, zeros: Floats, moments: Floats, least: int, largest: int
) -> NDArray[np.uint8]:
    """Codes [rows, blocks, block] of weights [rows, inputs], within two bounds.

    Args:
        scales, zeros: [rows, blocks]; a code stands for (code - zero) * scale.
        moments: [inputs, inputs], the mean of x x^T over the layer's inputs x.
    """
    rows, blocks = scales.shape
    by_input = np.ascontiguousarray(weights.T)  # [inputs, rows], as everything below
    block = len(by_input) // blocks
    factor = _triangular(moments)
    factor /= factor.diagonal()[:, None].copy()
    errors = np.zeros_like(by_input)
    codes = np.empty(by_input.shape, np.uint8)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    for index in reversed(range(blocks)):
        start, stop = index * block, (index + 1) * block
        wanted = by_input[start:stop] + factor[start:stop, stop:] @ errors[stop:]
        scale, zero = scales[:, index], zeros[:, index]
        for i in reversed(range(start, stop)):
            shifted = wanted[i - start] + factor[i, i + 1 : stop] @ errors[i + 1 : stop]
            code = np.clip(np.rint(shifted * inverse[:, index]) + zero, least, largest)
            codes[i] = code
            errors[i] = by_input[i] - (code - zero) * scale
    return np.ascontiguousarray(codes.T).reshape(rows, blocks, block)


def _triangular(moments: Floats) -> Floats:
    """R, upper triangular, with R^T R the moments, damped so that there is one."""
    diagonal = moments.diagonal()
    mean = float(diagonal.mean()) or 1.0
    for damping in _DAMPINGS:
        damped = moments.copy()
        np.fill_diagonal(damped, diagonal + np.float32(damping * mean))
        try:
            return np.ascontiguousarray(np.linalg.cholesky(damped).T)
        except np.linalg.LinAlgError:
            continue
    raise AssertionError("second moments, damped tenfold, are positive definite")
