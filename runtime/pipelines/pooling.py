"""From the hidden states of a text's tokens to its features."""

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Floats, HiddenStates

POOLINGS = ("none", "mean", "last_token")


def pool(states: HiddenStates, pooling: str, normalize: bool) -> Floats:
    """Return a text's features, float32.

    Args:
        states: hidden states [tokens, hidden].
        pooling: one of POOLINGS.
        normalize: whether vectors are scaled to length 1.

    Returns:
        [1, tokens, hidden] without pooling, else [hidden].
    """
    match pooling:
        case "mean":
            features: NDArray[np.floating] = states.mean(axis=0, dtype=np.float64)
        case "last_token":
            features = states[-1]
        case _:
            features = states[None]
    if normalize:
        lengths = np.linalg.norm(features, axis=-1, keepdims=True)
        features = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return np.array(features, np.float32)  # a view would keep all of the step's output alive
