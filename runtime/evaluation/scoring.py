"""Log likelihoods of given tokens, in bounded memory.

Windows are read in chunks, and logits are asked for where a token is scored, a chunk of them at a
time. Short windows are read together: nothing sees the padding on its right.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.decoder import Decoder, Logits
from gptneo_onnx.runtime.evaluation.windows import Ids, Window
from gptneo_onnx.runtime.ragged_steps import ragged_steps

# Rows of logits that stay in a processor's cache from one pass to the next.
_ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class Scored:
    """What a model makes of a window's targets.

    Attributes:
        log_likelihoods: float64 [scored], natural logarithms.
        is_greedy: bool [scored], whether a target is the likeliest token.
    """

    log_likelihoods: NDArray[np.float64]
    is_greedy: NDArray[np.bool_]


def score(decoder: Decoder, windows: Sequence[Window]) -> Iterator[tuple[int, Scored]]:
    """Score windows: (index, result) of each, the longest first."""
    lengths = [len(window.inputs) for window in windows]
    for group in ragged_steps(lengths, decoder.cache.slots):
        if len(group) == 1:
            yield group[0], _score_alone(decoder, windows[group[0]])
        else:
            yield from zip(
                group, _score_together(decoder, [windows[i] for i in group]), strict=True
            )


def of_targets(logits: Logits, targets: Ids) -> Scored:
    """Log softmax of logits [rows, vocab] at targets [rows]; the logits are overwritten."""
    likelihoods = np.empty(len(targets), np.float64)
    is_greedy = np.empty(len(targets), np.bool_)
    for start in range(0, len(targets), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        block, wanted = logits[rows], targets[rows]
        chosen, greatest = block[np.arange(len(wanted)), wanted], block.max(axis=1)
        # Of several greatest the first counts, as for torch's argmax: hardly ever there are two.
        is_greedy[rows] = [
            is_greatest and logits_of_row.argmax() == target
            for is_greatest, logits_of_row, target in zip(
                chosen == greatest, block, wanted, strict=True
            )
        ]
        np.subtract(block, greatest[:, None], out=block)
        np.exp(block, out=block)
        sums = block.sum(axis=1)  # pairwise: as exact as float32 is
        likelihoods[rows] = chosen.astype(np.float64) - greatest - np.log(sums, dtype=np.float64)
    return Scored(likelihoods, is_greedy)


def _score_alone(decoder: Decoder, window: Window) -> Scored:
    decoder.cache.clear(0)
    parts, done = [], 0
    first = len(window.context) - 1  # whose logits tell of the first target
    for chunk in decoder.prefill_chunks(0, window.inputs, first=first):
        scored = len(chunk.logits)
        parts.append(of_targets(chunk.logits, window.targets[done : done + scored]))
        done += scored
    return Scored(
        np.concatenate([part.log_likelihoods for part in parts]),
        np.concatenate([part.is_greedy for part in parts]),
    )


def _score_together(decoder: Decoder, windows: Sequence[Window]) -> Iterator[Scored]:
    """Windows of a step's length or less, each in a slot of its own."""
    longest = max(len(window.inputs) for window in windows)
    ids = np.zeros((len(windows), longest), np.int64)
    rows = []
    for index, window in enumerate(windows):
        ids[index, : len(window.inputs)] = window.inputs
        scored = np.arange(len(window.context) - 1, len(window.inputs))
        rows.append(np.stack([np.full_like(scored, index), scored], axis=1))
    logits = decoder.prefill_together(ids, np.concatenate(rows)).logits
    done = 0
    for window in windows:
        count = len(window.targets)
        yield of_targets(logits[done : done + count], window.targets)
        done += count
