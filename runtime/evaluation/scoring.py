"""Log likelihoods of the tokens of windows, in bounded memory.

A long window is read in chunks, and logits are computed only where a token is scored, a chunk at a
time. Short windows are read together in one step: they are padded on the right, where no token sees
the padding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids, Logits, Mask
from gptneo_onnx.runtime.engine.batching import padded, ragged_steps
from gptneo_onnx.runtime.engine.decoder import Decoder, check_finite
from gptneo_onnx.runtime.evaluation.windows import Window

# Short windows that are read together, at most.
SLOTS = 16
# Windows that are cut before any is scored: enough to find several of similar length.
WINDOWS_READ_AHEAD = 64
# Rows of logits that stay in a processor's cache from one pass to the next.
_ROWS_AT_ONCE = 8

# Index of a window, which of its targets, and the logits [targets, vocab] that predict these.
TargetLogits = tuple[int, slice, Logits]


@dataclass(frozen=True)
class Scored:
    """A model's predictions of a window's targets.

    Attributes:
        log_likelihoods: float64 [scored], natural logarithms.
        is_greedy: bool [scored], whether a target is the likeliest token.
    """

    log_likelihoods: NDArray[np.float64]
    is_greedy: Mask


def score(decoder: Decoder, windows: Sequence[Window]) -> Iterator[tuple[int, Scored]]:
    """Score windows; yield the index and the result of each, the longest first.

    Raises:
        ModelFileError: the model's logits are not finite numbers.
    """
    for group in group_windows(windows, decoder.cache.slots):
        parts: list[list[Scored]] = [[] for _ in group]
        for place, rows, logits in target_logits(decoder, [windows[i] for i in group]):
            parts[place].append(score_targets(logits, windows[group[place]].targets[rows]))
        for index, window_parts in zip(group, parts, strict=True):
            likelihoods = np.concatenate([part.log_likelihoods for part in window_parts])
            check_finite(likelihoods)
            is_greedy = np.concatenate([part.is_greedy for part in window_parts])
            yield index, Scored(likelihoods, is_greedy)


def group_windows(windows: Sequence[Window], slots: int) -> Iterator[list[int]]:
    """Yield the indices of windows that target_logits() can read together, the longest first."""
    return ragged_steps([len(window.inputs) for window in windows], slots)


def target_logits(decoder: Decoder, windows: Sequence[Window]) -> Iterator[TargetLogits]:
    """Compute the logits that predict the targets of a group of windows, in order.

    One window may have any length and is read in chunks; several are read in one step.
    """
    if len(windows) == 1:
        yield from _chunked_logits(decoder, windows[0])
    else:
        yield from _batched_logits(decoder, windows)


def score_targets(logits: Logits, targets: Ids) -> Scored:
    """Take the log softmax of logits [rows, vocab] at targets [rows]; overwrites the logits."""
    likelihoods = np.empty(len(targets), np.float64)
    is_greedy = np.empty(len(targets), np.bool_)
    for start in range(0, len(targets), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        block, block_targets = logits[rows], targets[rows]
        chosen, greatest = block[np.arange(len(block)), block_targets], block.max(axis=1)
        # Of equal logits the first is the likeliest, as for torch's argmax. Ties are rare, so that
        # argmax is taken only where the target's logit is the greatest.
        is_greedy[rows] = [
            is_greatest and row.argmax() == target
            for is_greatest, row, target in zip(
                chosen == greatest, block, block_targets, strict=True
            )
        ]
        np.subtract(block, greatest[:, None], out=block)
        np.exp(block, out=block)
        sums = block.sum(axis=1)  # numpy sums pairwise: as exact as float32 is
        likelihoods[rows] = chosen.astype(np.float64) - greatest - np.log(sums, dtype=np.float64)
    return Scored(likelihoods, is_greedy)


def _chunked_logits(decoder: Decoder, window: Window) -> Iterator[TargetLogits]:
    decoder.cache.clear(0)
    done = 0
    first = len(window.context) - 1  # the position whose logits predict the first target
    for chunk in decoder.prefill_chunks(0, window.inputs, first=first):
        if len(chunk.logits):
            yield 0, slice(done, done + len(chunk.logits)), chunk.logits
        done += len(chunk.logits)


def _batched_logits(decoder: Decoder, windows: Sequence[Window]) -> Iterator[TargetLogits]:
    inputs = [window.inputs for window in windows]
    rows = []
    for index, window in enumerate(windows):
        scored = np.arange(len(window.context) - 1, len(inputs[index]))
        rows.append(np.stack([np.full_like(scored, index), scored], axis=1))  # [scored, 2]
    logits = decoder.prefill_together(padded(inputs), np.concatenate(rows)).logits
    done = 0
    for index, window in enumerate(windows):
        count = len(window.targets)
        yield index, slice(0, count), logits[done : done + count]
        done += count
