"""The draws of torch's CPU generator that watermarks are made of, bit for bit, with numpy.

A watermark is found again only by someone who draws the same lists. torch.Generator().manual_seed
starts the 32-bit Mersenne Twister with the seed's low 32 bits, as numpy's RandomState does, whose
stream is frozen for good. (Held against torch 2.13 in tests/peers.)
"""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def randint_bits(seed: int, size: int) -> Ids:
    """torch.randint(0, 2, (size,)): each 32-bit draw modulo 2."""
    return _draws(seed, size) % 2


def randperm(seed: int, n: int) -> Ids:
    """torch.randperm(n): step i swaps entry i with a drawn one from i on."""
    permutation = list(range(n))
    for i, target in enumerate(_targets(seed, n, n).tolist()):
        permutation[i], permutation[target] = permutation[target], permutation[i]
    return np.array(permutation, np.int64)


def randperm_start(seed: int, n: int, count: int) -> NDArray[np.bool_]:
    """Which of n numbers are among the first `count` of randperm(seed, n), in any order.

    Without the shuffling loop, which takes milliseconds: a number is at its end beyond `count` if
    no step moved another one there. The last step that did so had it from its own place, where an
    earlier step may have put it, and so on.
    """
    steps = np.arange(count)
    targets = _targets(seed, n, count)
    moves = targets != steps
    origin = np.arange(n)  # the last step that filled a place; the place itself if none did
    origin[targets[moves]] = steps[moves]
    while not np.array_equal(further := origin[origin], origin):
        origin = further
    among = np.ones(n, np.bool_)
    among[origin[count:]] = False
    return among


def _targets(seed: int, n: int, count: int) -> Ids:
    """The place that each of the first `count` steps of a shuffle swaps with its own."""
    steps = np.arange(count)
    return steps + _draws(seed, count) % (n - steps)


def _draws(seed: int, count: int) -> Ids:
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    return generator.randint(0, 2**32, size=count, dtype=np.uint32).astype(np.int64)
