"""Batches of sequences of different lengths: which of them one step reads together."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from gptneo_onnx.runtime.arrays import Ids

# Tokens of one batched step at most, padding included.
MAX_BATCHED_TOKENS = 256
# Texts read ahead, so that those of similar length share a step, where results are small.
READ_AHEAD = 256

Item = TypeVar("Item")


def in_groups(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    """Yield items in lists of `count`; the last may be shorter."""
    remaining = iter(items)
    while group := list(islice(remaining, min(count, sys.maxsize))):
        yield group


def ragged_steps(lengths: Sequence[int], slots: int) -> Iterator[list[int]]:
    """Yield the indices of each step's sequences, the longest first.

    A step reads one sequence of any length, or several that fit into it when padded to the longest.

    Args:
        lengths: tokens of each sequence, at least 1.
        slots: sequences of a step at most.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    done = 0
    while done < len(order):
        count = max(1, min(slots, MAX_BATCHED_TOKENS // lengths[order[done]]))
        yield order[done : done + count]
        done += count


def padded(sequences: Sequence[Ids], fill: int = 0) -> Ids:
    """Return ids [sequences, longest], padded on the right, where causal attention hides it."""
    ids = np.full((len(sequences), max(map(len, sequences))), fill, np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return ids
