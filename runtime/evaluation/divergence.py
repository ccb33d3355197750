"""How much two models' predictions of the same tokens differ, computed from the logits of both."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.evaluation.scoring import TargetLogits

# The measurements of one token; see measure().
MEASURED = np.dtype([("losses", np.float64, 2), ("divergence", np.float64), ("agrees", np.bool_)])
Measured = NDArray[Any]

# float64 rows that stay in a processor's cache from one pass to the next.
_ROWS_AT_ONCE = 4


def side_by_side(
    first: Iterator[TargetLogits], second: Iterator[TargetLogits]
) -> Iterator[tuple[int, slice, Logits, Logits]]:
    """Pair the logits of both models for the same targets.

    Graphs may read chunks of different lengths: chunks are cut where either model's ends.
    """
    other_place, other_rows, other = -1, slice(0, 0), np.empty((0, 0), np.float32)
    for place, rows, logits in first:
        done = rows.start
        while done < rows.stop:
            if (other_place, other_rows.stop) <= (place, done):
                other_place, other_rows, other = next(second)
            end = min(rows.stop, other_rows.stop)
            part = logits[done - rows.start : end - rows.start]
            other_part = other[done - other_rows.start : end - other_rows.start]
            yield place, slice(done, end), part, other_part
            done = end


def measure(first: Logits, second: Logits, targets: Ids) -> Measured:
    """Measure two models' predictions of the same targets.

    Args:
        first, second: logits [targets, vocab] that predict them, finite numbers.
        targets: int64 [targets].

    Returns:
        MEASURED [targets]: minus the log likelihood by each model; the Kullback-Leibler divergence
        of the second from the first, sum p1 (log p1 - log p2); both in nats; and whether both
        models have the same likeliest token.
    """
    measured = np.empty(len(targets), MEASURED)
    for start in range(0, len(targets), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        one, other = _log_softmax(first[rows]), _log_softmax(second[rows])
        block, row_numbers, block_targets = measured[rows], np.arange(len(one)), targets[rows]
        block["losses"] = -np.stack(
            [one[row_numbers, block_targets], other[row_numbers, block_targets]], axis=1
        )
        # For equal distributions rounding may leave the sum a last bit below 0.
        block["divergence"] = np.maximum((np.exp(one) * (one - other)).sum(axis=1), 0)
        block["agrees"] = one.argmax(axis=1) == other.argmax(axis=1)
    return measured


def likeliest(logits: Logits, count: int) -> list[tuple[int, float]]:
    """Return the likeliest tokens by logits [vocab] with their probabilities, likeliest first."""
    [log_probabilities] = _log_softmax(logits[None])
    order = np.argsort(-log_probabilities, kind="stable")[:count]
    return [(int(token), math.exp(log_probabilities[token])) for token in order]


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Over [rows, vocab], in float64: divergences are small differences of the results."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
