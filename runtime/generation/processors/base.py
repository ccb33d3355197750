"""The contract of logits processors, and the softmax that they share.

A processor takes the tokens so far, `input_ids` int64 [batch, length], and the next token's
`scores`, float32 [batch, vocab], and returns new scores without changing its inputs. This is the
contract of transformers.generation.LogitsProcessor, with numpy arrays for tensors.
"""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids as Ids
from gptneo_onnx.runtime.arrays import Scores as Scores

FloatType = TypeVar("FloatType", np.float32, np.float64)

NEG_INF = np.float32(-np.inf)
GREATEST = float(np.finfo(np.float32).max)
LOWEST = -GREATEST


class LogitsProcessor(Protocol):
    """Changes the scores of the next token."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores: ...


class LogitsProcessorList(list[LogitsProcessor]):
    """Applies its processors one after the other."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores:
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


def probabilities(scores: NDArray[FloatType]) -> NDArray[FloatType]:
    """Return the softmax over the last axis.

    It multiplies by the reciprocal of the total, as PyTorch does: ties with a threshold need that.
    """
    weights = exponentials(scores - scores.max(-1, keepdims=True))
    return np.asarray(weights * (1 / weights.sum(-1, keepdims=True)))


def exponentials(values: NDArray[FloatType]) -> NDArray[FloatType]:
    """Return the exponential function, rounded to the nearest number, as PyTorch's mostly is.

    NumPy converts to float64 in blocks that stay in the processor's cache: a third of the time.
    """
    result = np.empty_like(values)
    return np.exp(values, out=result, dtype=np.float64, casting="same_kind")


def log_probabilities(scores: NDArray[FloatType]) -> NDArray[FloatType]:
    """Return the logarithm of the softmax over the last axis."""
    shifted = scores - scores.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
