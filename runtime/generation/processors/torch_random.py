"""The draws of torch's CPU generator that watermarks are made of, bit for bit, with numpy.

Only a detector that draws the same lists finds a watermark again. torch.Generator().manual_seed
starts the 32-bit Mersenne Twister with the seed's low 32 bits. So does numpy's RandomState, whose
stream will never change. (tests/peers compares the draws with torch 2.13.)
"""

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Mask


def randint_bits(seed: int, size: int) -> Ids:
    """Return torch.randint(0, 2, (size,)): each 32-bit draw modulo 2."""
    return _draws(seed, size) % 2


def randperm(seed: int, n: int) -> Ids:
    """Return torch.randperm(n): step i swaps entry i with a drawn one at i or after it."""
    permutation = list(range(n))
    for i, target in enumerate(_targets(seed, n, n).tolist()):
        permutation[i], permutation[target] = permutation[target], permutation[i]
    return np.array(permutation, np.int64)


def randperm_start(seed: int, n: int, count: int) -> Mask:
    """Mark which of n numbers are among the first `count` of randperm(seed, n).

    This avoids the shuffling loop, which takes milliseconds. Instead it asks which numbers end up
    at `count` or after it. A position that no step swapped anything to keeps its own number.
    Otherwise the last step that did so brought the number from that step's own position, where an
    earlier step may have brought it from another position, and so on.
    """
    steps = np.arange(count)
    targets = _targets(seed, n, count)
    moves = targets != steps
    origin = np.arange(n)  # the last step that filled a position; the position itself if none did
    origin[targets[moves]] = steps[moves]
    while not np.array_equal(earlier := origin[origin], origin):
        origin = earlier
    is_in_start = np.ones(n, np.bool_)
    is_in_start[origin[count:]] = False
    return is_in_start


def _targets(seed: int, n: int, count: int) -> Ids:
    """Return the position that each of the first `count` steps of a shuffle swaps with its own."""
    steps = np.arange(count)
    return steps + _draws(seed, count) % (n - steps)


def _draws(seed: int, count: int) -> Ids:
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    return generator.randint(0, 2**32, size=count, dtype=np.uint32).astype(np.int64)
