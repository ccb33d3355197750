"""Log probabilities of tokens, for those who ask."""

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.generation.processors.base import log_probabilities
from gptneo_onnx.runtime.scheduling.events import TokenScore

# Rows of scores that are made at once: 16 of 50257 tokens take 3 MB.
_ROWS_AT_ONCE = 16


def token_scores(logits: Logits, tokens: Ids, top: int) -> list[TokenScore]:
    """Return the scores of tokens [length] by the logits [length, vocab] that predict them.

    Args:
        logits: float32 [length, vocab].
        tokens: int64 [length].
        top: how many of the likeliest tokens to name.
    """
    scores: list[TokenScore] = []
    for start in range(0, len(tokens), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        scores += _scores(log_probabilities(logits[rows]), tokens[rows], top)
    return scores


def _scores(logprobs: NDArray[np.float32], tokens: Ids, top: int) -> list[TokenScore]:
    own = np.take_along_axis(logprobs, tokens[:, None], axis=1)  # [length, 1]
    ranks = np.count_nonzero(logprobs > own, axis=1) + 1
    best = _best(logprobs, top)
    best_logprobs = np.take_along_axis(logprobs, best, axis=1)
    columns = (tokens, own[:, 0], ranks, best, best_logprobs)
    return [
        TokenScore(token, logprob, rank, tuple(zip(others, other_logprobs, strict=True)))
        for token, logprob, rank, others, other_logprobs in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def _best(scores: NDArray[np.float32], count: int) -> Ids:
    """Return the `count` likeliest tokens of each row [length, count], the best first."""
    count = min(count, scores.shape[1])
    if count == 0:  # nothing is sorted
        return np.empty((len(scores), 0), np.int64)
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)
