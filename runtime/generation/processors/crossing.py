"""Where the cumulative mass of sorted tokens crosses a threshold, without sorting all of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Scores
from gptneo_onnx.runtime.generation.processors.torch_softmax import rounding

_SORTED = 512  # as many are sorted at once
_SAMPLE = 31


def crossing(keys: Scores, masses: Scores, target: float) -> tuple[int, np.float32] | None:
    """Return the first token, by ascending key, at which the cumulative mass is above the target.

    Tokens are halved by the median of a sample until few are left.

    Args:
        keys: [tokens].
        masses: [tokens], likelihoods.
        target: likelihood.

    Returns:
        How many tokens come before it, and its key. None where rounding to float32 decides, or
        where the mass of all tokens is not above the target.
    """
    margin = target * rounding(keys) + 1e-37
    count, below = 0, 0.0
    while len(keys) > _SORTED:
        sample = keys[:: len(keys) // _SAMPLE]
        median = np.partition(sample, len(sample) // 2)[len(sample) // 2]
        is_low = keys < median
        if not is_low.any():
            is_low = keys <= median
        low = np.flatnonzero(is_low)
        if len(low) == len(keys):
            break
        low_masses = masses[low]
        mass = below + float(low_masses.sum(dtype=np.float64))
        if abs(mass - target) <= margin:
            return None
        if mass > target:
            keys, masses = keys[low], low_masses
        else:
            count, below = count + len(low), mass
            high = np.flatnonzero(~is_low)
            keys, masses = keys[high], masses[high]
    order = np.argsort(keys)
    cumulative = below + np.cumsum(masses[order], dtype=np.float64)
    position = int(np.searchsorted(cumulative, target))
    if _is_near(cumulative, position, target, margin):
        return None
    return count + position, keys[order[position]]


def _is_near(cumulative: NDArray[Any], position: int, target: float, margin: float) -> bool:
    """Tell whether a sum beside the crossing is within the margin, or none is above the target."""
    if position == len(cumulative):
        return True
    before = cumulative[position - 1] if position else -np.inf
    return bool(cumulative[position] - target <= margin or target - before <= margin)
