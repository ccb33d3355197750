"""The best tokens of a row of scores, without sorting them."""

import numpy as np

from gptneo_onnx.runtime.arrays import Mask, Scores

# Groups of which the greatest scores are compared first.
_GROUPS = 512


def best_tokens(row: Scores, count: int, lower_ids_first: bool) -> Mask:
    """Mark the `count` best tokens of a row [vocab], equally good ones taken by their ids."""
    last_score = nth_best(row, count)
    best = row >= last_score
    surplus = np.count_nonzero(best) - min(count, len(row))
    if surplus:
        equals = np.flatnonzero(row == last_score)
        best[equals[-surplus:] if lower_ids_first else equals[:surplus]] = False
    return best


def last_of_best(scores: Scores, count: int) -> Scores:
    """Return the lowest of the `count` best scores of each row: [batch, vocab] -> [batch, 1]."""
    if count == 1:
        return np.asarray(scores.max(-1, keepdims=True))
    return np.array([[nth_best(row, count)] for row in scores], scores.dtype)


def nth_best(row: Scores, n: int) -> np.float32:
    """Return the `n`-th best score of a row [vocab], the worst if there are fewer."""
    n = min(n, len(row))
    if n <= _GROUPS and len(row) > 4 * _GROUPS:
        # As many groups have a score of at least the n-th best of their greatest.
        grouped = len(row) - len(row) % _GROUPS
        greatest = row[:grouped].reshape(-1, _GROUPS).max(axis=0)
        row = row[row >= np.partition(greatest, -n)[-n]]
    possible = row > -np.inf
    count = np.count_nonzero(possible)
    if count < n:
        return row.dtype.type(-np.inf)
    if count < len(row) // 2:
        # Partitioning is very slow where thousands of scores are equal.
        row = row[np.flatnonzero(possible)]
    return row.dtype.type(np.partition(row, -n)[-n])


def spare_the_best(row: Scores, dropped: Mask, count: int) -> None:
    """Take the `count` best tokens of a row [vocab] out of `dropped`, in place."""
    if len(row) - np.count_nonzero(dropped) < count:
        dropped &= ~best_tokens(row, count, lower_ids_first=True)
