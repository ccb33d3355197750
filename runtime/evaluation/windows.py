"""Cutting texts into windows that a model can score, each token predicted exactly once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.batching import in_groups

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Tokens to score, behind tokens that are only read.

    Attributes:
        context: int64 [read], at least one.
        targets: int64 [scored], at least one.
    """

    context: Ids
    targets: Ids

    def __post_init__(self) -> None:
        assert len(self.context)
        assert len(self.targets)

    @property
    def inputs(self) -> Ids:
        """What the model reads: all but the last target, int64 [read + scored - 1]."""
        return np.concatenate([self.context, self.targets[:-1]])


def rolling_windows(ids: Ids, prefix: int, length: int, stride: int | None = None) -> list[Window]:
    """A document's windows, as lm_eval.utils.get_rolling_token_windows cuts them (EleutherAI).

    The first begins behind the prefix token; each later one scores the next `stride` tokens behind
    as many as fit before them. By default stride is length: the windows are then disjoint, but that
    one token of context is read again, and the last is slid back to a full window.

    Args:
        ids: int64 [tokens]; none makes no windows.
        prefix: the token that stands before the first.
        length: tokens that the model reads at once, at most.
        stride: tokens that a window scores, from 1 to length.

    Raises:
        InputError: a stride out of range.
    """
    stride = length if stride is None else stride
    if not 1 <= stride <= length:
        raise InputError(f"stride is {stride}; 1 to {length}, the model's context, is allowed")
    whole = np.concatenate([[prefix], ids])  # token i of the document is at i + 1
    windows = []
    done = 0
    while done < len(ids):
        count = min(stride if done else length, len(ids) - done)
        end = done + count
        start = max(0, end - length)
        windows.append(Window(whole[start : done + 1], whole[done + 1 : end + 1]))
        done = end
    return windows


def chunks(stream: Iterable[int], length: int) -> Iterator[Window]:
    """A stream of ids in disjoint chunks of length + 1, of which all but the first are scored.

    As GPT-Neo's training code made its data (EleutherAI/gpt-neo, data/create_tfrecords.py: "chunks
    need to be 1 token longer so there's a target for the last token"). What is left over is
    dropped.
    """
    for chunk in in_groups(stream, length + 1):
        ids = np.array(chunk, np.int64)
        if len(ids) == length + 1:
            yield Window(ids[:1], ids[1:])
