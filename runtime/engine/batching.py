"""Sequences of different lengths: which of them one step reads together."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from gptneo_onnx.runtime.engine.inputs import Ids

# Tokens that sequences are read together with at the most, padding included: a step's worth.
MAX_BATCHED_TOKENS = 256

Item = TypeVar("Item")


def in_groups(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    """Items in lists of `count`, the last perhaps shorter."""
    waiting = iter(items)
    while group := list(islice(waiting, count)):
        yield group


def ragged_steps(lengths: Sequence[int], slots: int) -> Iterator[list[int]]:
    """Indices of sequences, those of one step at a time, the longest first.

    A group of one may be of any length; several fit into one step when padded to the longest.

    Args:
        lengths: in tokens, at least 1 each.
        slots: sequences of a step at the most.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    done = 0
    while done < len(order):
        together = max(1, min(slots, MAX_BATCHED_TOKENS // lengths[order[done]]))
        yield order[done : done + together]
        done += together


def padded(sequences: Sequence[Ids]) -> Ids:
    """Sequences of ids as [sequences, longest], padded on the right, where nothing sees it."""
    ids = np.zeros((len(sequences), max(map(len, sequences))), np.int64)
    for row, own in enumerate(sequences):
        ids[row, : len(own)] = own
    return ids
