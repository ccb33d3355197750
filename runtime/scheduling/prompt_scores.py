"""Log probabilities of tokens, for those who ask."""

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.generation.processors.base import log_probabilities
from gptneo_onnx.runtime.scheduling.events import TokenScore


def token_scores(logits: Logits, tokens: Ids, top: int) -> list[TokenScore]:
    """Return the scores of tokens [length] by the logits [length, vocab] that predict them.

    Args:
        logits: float32 [length, vocab].
        tokens: int64 [length].
        top: how many of the likeliest tokens to name.
    """
    scores = log_probabilities(logits)
    own = np.take_along_axis(scores, tokens[:, None], axis=1)  # [length, 1]
    ranks = (scores > own).sum(axis=1) + 1
    best = _best(scores, top)
    return [
        TokenScore(
            int(token),
            float(logprob),
            int(rank),
            tuple((int(other), float(row[other])) for other in row_best),
        )
        for token, logprob, rank, row_best, row in zip(
            tokens, own[:, 0], ranks, best, scores, strict=True
        )
    ]


def _best(scores: Logits, count: int) -> Ids:
    """Return the `count` likeliest tokens of each row [length, count], the best first."""
    count = min(count, scores.shape[1])
    if count == 0:
        return np.empty((len(scores), 0), np.int64)
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)
