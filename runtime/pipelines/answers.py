"""From the logits of an answer's ends to spans of tokens.

Source: transformers.pipelines.question_answering, select_starts_ends and decode_spans.
"""

from dataclasses import dataclass

import numpy as np

from gptneo_onnx.runtime.arrays import Floats, Logits, Mask
from gptneo_onnx.runtime.pipelines.scores import softmax

# The logit of tokens that no answer may hold.
_EXCLUDED = np.float32(-10000)


@dataclass(frozen=True)
class Span:
    """A possible answer: its first and last token, and its score."""

    first: int
    last: int
    score: float


def best_spans(logits: Logits, allowed: Mask, count: int, longest: int) -> tuple[list[Span], float]:
    """Return the best answers of a window, and the score of having no answer.

    Args:
        logits: of the start and of the end at each token, [length, 2].
        allowed: bool [length], the tokens that an answer may hold.
        count: how many spans are looked for; those that begin or end elsewhere are left out.
        longest: tokens of an answer at most.
    """
    starts, ends = (
        softmax(np.where(allowed, column, _EXCLUDED)) for column in np.moveaxis(logits, -1, 0)
    )
    no_answer = float(starts[0] * ends[0])
    starts[0] = ends[0] = 0  # stands for no answer
    scores = np.tril(np.triu(starts[:, None] * ends), longest - 1)
    flat = scores.ravel()
    spans = []
    for index in _largest(flat, count).tolist():
        first, last = divmod(index, len(logits))
        if (allowed[first] or first == 0) and (allowed[last] or last == 0):
            spans.append(Span(first, last, float(flat[index])))
    return spans, no_answer


def _largest(values: Floats, count: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the indices of the largest values, the largest first."""
    if count == 1:
        return np.array([values.argmax()])
    if len(values) < count:
        return np.argsort(-values)
    indices = np.argpartition(-values, count)[:count] if count < len(values) else np.arange(count)
    return indices[np.argsort(-values[indices])]
