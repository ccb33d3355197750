"""The contract of logits processors, and the softmax that they share.

A processor takes the tokens so far, `input_ids` int64 [batch, length], and the next token's
`scores`, float32 [batch, vocab], and returns new scores without changing its inputs. This is the
contract of transformers.generation.LogitsProcessor, with numpy arrays for tensors. The package's
own processors take lists and torch's tensors too; scores in a tensor come back in a new one.
"""

from collections.abc import Mapping
from inspect import signature
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids as Ids
from gptneo_onnx.runtime.arrays import Scores as Scores

FloatType = TypeVar("FloatType", np.float32, np.float64)

NEG_INF = np.float32(-np.inf)
GREATEST = float(np.finfo(np.float32).max)
LOWEST = -GREATEST


@runtime_checkable
class LogitsProcessor(Protocol):
    """Changes the scores of the next token; any function of two arguments is one."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores:
        """Return new scores [batch, vocab]."""
        raise NotImplementedError("a LogitsProcessor needs a __call__ of its own")


class LogitsProcessorList(list[LogitsProcessor]):
    """Applies its processors one after the other.

    More arguments, which are named, go to the processors that take more than two.

    Raises:
        InputError: a processor needs an argument that was not given.
    """

    def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
        for processor in self:
            taken = more if more and _takes_more(processor) else {}
            try:
                scores = processor(input_ids, scores, **taken)
            except TypeError as error:
                if missing := _missing(processor, taken):
                    raise InputError(
                        f"{type(processor).__name__} needs {', '.join(missing)} too; pass "
                        f"{missing[0]}=... after the scores"
                    ) from error
                raise
        return scores


def _takes_more(processor: Any) -> bool:
    return len(signature(processor).parameters) > 2


def _missing(processor: Any, given: Mapping[str, Any]) -> list[str]:
    """Return the names that a processor needs besides ids and scores, and was not given."""
    parameters = [*signature(processor).parameters.values()][2:]
    return [
        each.name
        for each in parameters
        if each.default is each.empty
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        and each.name not in given
    ]


def probabilities(scores: NDArray[FloatType]) -> NDArray[FloatType]:
    """Return the softmax over the last axis.

    It multiplies by the reciprocal of the total, as PyTorch does: ties with a threshold need that.
    """
    weights = exponentials(scores - scores.max(-1, keepdims=True))
    weights *= 1 / weights.sum(-1, keepdims=True)
    return weights


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
