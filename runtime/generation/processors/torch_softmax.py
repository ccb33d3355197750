"""PyTorch's softmax of float32 on a CPU, bit for bit, for thresholds that the last bit decides.

PyTorch takes SLEEF's exponential function (https://sleef.org, expf with 1.0 ULP, by polynomial),
adds the results up in 16 lanes, one AVX-512 register, then the lanes in a tree, and multiplies by
the reciprocal of the total. Its AVX2 code has 8 lanes: there, last bits differ from these.
"""

import numpy as np

from gptneo_onnx.runtime.arrays import Floats, Scores

_LANES = 16
_LOWEST_EXPONENT = np.float32(-104)
_LOG2_E = np.float32(1.442695040888963407359924681001892137426645954152985934135449406931)
# ln(2) in two parts, so that whole multiples of the first are exact.
_LN2_PARTS = (np.float32(0.693145751953125), np.float32(1.428606765330187045e-06))
_COEFFICIENTS = (
    np.float32(0.000198527617612853646278381),
    np.float32(0.00139304355252534151077271),
    np.float32(0.00833336077630519866943359),
    np.float32(0.0416664853692054748535156),
    np.float32(0.166666671633720397949219),
    np.float32(0.5),
)


def rounding(row: Scores) -> float:
    """Return how much likelihoods mostly differ from PyTorch's, as a part of them.

    Twice the most that was measured on normally distributed scores, at 5 and at 50257. Only where
    thousands of scores are equal do float32 sums differ more, by up to 4e-5. Those of float64, for
    which PyTorch has another function, are taken as they are.
    """
    return 4e-7 + 1.6e-11 * row.shape[-1] if row.dtype == np.float32 else 0.0


def torch_softmax(row: Scores) -> Floats:
    """Return the softmax of a row, float32 [vocab]; the total depends on the row's order."""
    weights = _exponentials(row - row.max())
    return np.asarray(weights * (1 / _total(weights)))


def cumulative_softmax(row: Scores) -> Floats:
    """Return the cumulative softmax of a row, float32 [vocab]: torch adds up in float64."""
    return np.cumsum(torch_softmax(row), dtype=np.float64).astype(np.float32)


def _exponentials(values: Floats) -> Floats:
    """Return SLEEF's expf of numbers that are at most 0."""
    bounded = np.maximum(values, _LOWEST_EXPONENT - 1)
    powers = np.rint(bounded * _LOG2_E)
    rest = bounded
    for part in _LN2_PARTS:
        rest = _multiply_add(powers, -part, rest)
    polynomial = np.full_like(rest, _COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:
        polynomial = _multiply_add(polynomial, rest, coefficient)
    mantissas = 1 + _multiply_add(rest * rest, polynomial, rest)
    results = np.ldexp(mantissas, powers.astype(np.int32))
    return np.where(values < _LOWEST_EXPONENT, np.float32(0), results)


def _multiply_add(a: Floats, b: Floats | np.float32, c: Floats | np.float32) -> Floats:
    """Return a * b + c, rounded once, as a processor's fused instruction does."""
    return (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)


def _total(weights: Floats) -> np.float32:
    if len(weights) < _LANES:
        return np.float32(np.cumsum(weights)[-1])
    whole = len(weights) // _LANES * _LANES
    # Down the columns NumPy adds row after row, never in pairs.
    lanes = weights[:whole].reshape(-1, _LANES).sum(axis=0)
    lanes[: len(weights) - whole] += weights[whole:]
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return np.float32(lanes[0])
