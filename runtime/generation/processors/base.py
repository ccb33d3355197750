"""The contract of logits processors, and the two softmaxes.

A processor takes the tokens so far, `input_ids` int64 [batch, length], and the next token's
`scores`, float32 [batch, vocab], and returns new scores; it leaves its inputs alone. The contract
is that of transformers.generation.LogitsProcessor, with numpy arrays for tensors.
"""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Ids = NDArray[np.int64]
FloatType = TypeVar("FloatType", np.float32, np.float64)


class LogitsProcessor(Protocol):
    """Changes the scores of the next token."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores: ...


class LogitsProcessorList(list[LogitsProcessor]):
    """Processors that are applied one after the other."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores:
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


def probabilities(scores: NDArray[FloatType]) -> NDArray[FloatType]:
    """Softmax over the last axis."""
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def log_probabilities(scores: NDArray[FloatType]) -> NDArray[FloatType]:
    """Logarithm of the softmax over the last axis."""
    shifted = scores - scores.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
