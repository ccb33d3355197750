"""Cutting token ids into windows that a model can score, each token predicted exactly once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.engine.batching import in_groups


@dataclass(frozen=True)
class Window:
    """Tokens to score, after tokens that are only read.

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
        """The tokens that the model reads: all but the last target, int64 [read + scored - 1]."""
        return np.concatenate([self.context, self.targets[:-1]])


def rolling_windows(ids: Ids, prefix: int, length: int, stride: int | None = None) -> list[Window]:
    """Cut a document into windows as lm_eval.utils.get_rolling_token_windows does (EleutherAI).

    The first window starts after the prefix token. Each later one scores the next `stride` tokens,
    after as many tokens as fit before them. By default stride is length: the windows are disjoint
    except for one token of context, and the last is extended to the left to full length.

    Args:
        ids: int64 [tokens]; an empty document has no windows.
        prefix: the token before the first one.
        length: tokens that the model reads at once, at most.
        stride: tokens that a window scores, from 1 to length.

    Raises:
        InputError: the stride is out of range.
    """
    stride = length if stride is None else stride
    if not 1 <= stride <= length:
        raise InputError(f"stride is {stride}; 1 to {length}, the model's context, is allowed")
    prefixed = np.concatenate([[prefix], ids])  # token i of the document is at i + 1
    windows = []
    done = 0
    while done < len(ids):
        count = min(stride if done else length, len(ids) - done)
        end = done + count
        start = max(0, end - length)
        windows.append(Window(prefixed[start : done + 1], prefixed[done + 1 : end + 1]))
        done = end
    return windows


def chunks(stream: Iterable[int], length: int) -> Iterator[Window]:
    """Cut a stream of ids into disjoint chunks of length + 1, and score all but the first of each.

    GPT-Neo's training code made its data like this (EleutherAI/gpt-neo, data/create_tfrecords.py:
    "chunks need to be 1 token longer so there's a target for the last token"). An incomplete last
    chunk is dropped.
    """
    for chunk in in_groups(stream, length + 1):
        ids = np.array(chunk, np.int64)
        if len(ids) == length + 1:
            yield Window(ids[:1], ids[1:])
