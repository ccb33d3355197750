"""Log likelihoods of given tokens, in bounded memory.

Windows are read in chunks, and logits are asked for where a token is scored, a chunk of them at a
time. Short windows are read together: nothing sees the padding on its right.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.engine.batching import padded, ragged_steps
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.evaluation.windows import Ids, Window

# Short documents are read together, as many as this.
SLOTS = 16
# Windows that wait to be read: enough to find some of one length.
WINDOWS_READ_AHEAD = 64
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
    """Score windows: (index, result) of each, the longest first.

    Raises:
        ModelFileError: the model's logits are not finite numbers.
    """
    for group in steps_of(windows, decoder.cache.slots):
        found: list[list[Scored]] = [[] for _ in group]
        for place, rows, logits in target_logits(decoder, [windows[i] for i in group]):
            found[place].append(of_targets(logits, windows[group[place]].targets[rows]))
        for index, parts in zip(group, found, strict=True):
            likelihoods = np.concatenate([part.log_likelihoods for part in parts])
            if not np.isfinite(likelihoods).all():
                raise ModelFileError(
                    "the model's logits are not finite numbers; export it in another precision, "
                    "such as fp32"
                )
            yield index, Scored(likelihoods, np.concatenate([part.is_greedy for part in parts]))


def steps_of(windows: Sequence[Window], slots: int) -> Iterator[list[int]]:
    """Indices of windows to hand to target_logits() together, the longest first."""
    return ragged_steps([len(window.inputs) for window in windows], slots)


def target_logits(
    decoder: Decoder, windows: Sequence[Window]
) -> Iterator[tuple[int, slice, Logits]]:
    """Logits that predict windows' targets: of one window in chunks, of several in one step.

    Yields:
        (index of the window, which of its targets, logits [targets, vocab]), in order.
    """
    if len(windows) == 1:
        yield from _of_one(decoder, windows[0])
    else:
        yield from _of_several(decoder, windows)


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


def _of_one(decoder: Decoder, window: Window) -> Iterator[tuple[int, slice, Logits]]:
    decoder.cache.clear(0)
    done = 0
    first = len(window.context) - 1  # whose logits tell of the first target
    for chunk in decoder.prefill_chunks(0, window.inputs, first=first):
        if len(chunk.logits):
            yield 0, slice(done, done + len(chunk.logits)), chunk.logits
        done += len(chunk.logits)


def _of_several(decoder: Decoder, windows: Sequence[Window]) -> Iterator[tuple[int, slice, Logits]]:
    """Windows of a step's length or less, each in a slot of its own."""
    inputs = [window.inputs for window in windows]
    rows = []
    for index, window in enumerate(windows):
        scored = np.arange(len(window.context) - 1, len(inputs[index]))
        rows.append(np.stack([np.full_like(scored, index), scored], axis=1))
    logits = decoder.prefill_together(padded(inputs), np.concatenate(rows)).logits
    done = 0
    for index, window in enumerate(windows):
        count = len(window.targets)
        yield index, slice(0, count), logits[done : done + count]
        done += count
