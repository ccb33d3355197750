"""Assisted decoding: candidates are checked by one step, and what is wrong is taken back.

A sequence's choice at a position depends on its scores and its seed alone, so a candidate is right
if it is what would have been chosen anyway, greedily or by sampling. So the result is that of plain
decoding, token for token. (transformers.GenerationMixin._assisted_decoding keeps that promise for
greedy decoding, and for sampling that of an equal distribution.)
"""

from collections.abc import Iterator

import numpy as np

from gptneo_onnx.runtime.engine.cache import RollbackPoint
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.generation.outputs import StepRecorder
from gptneo_onnx.runtime.generation.processors.base import Scores
from gptneo_onnx.runtime.generation.strategies.candidates import Candidates
from gptneo_onnx.runtime.generation.strategies.sequences import CallerHooks, GrowingSequence
from gptneo_onnx.runtime.generation.strategies.slot_batch import SlotBatch


def assisted_steps(
    batch: SlotBatch,
    sequence: GrowingSequence,
    candidates: Candidates,
    own: CallerHooks,
    record: StepRecorder,
) -> Iterator[list[int]]:
    """Generate one sequence in the batch's only row; yields the tokens of each round."""
    decoder = batch.decoder
    logits, _ = batch.prefill()  # [1, vocab]
    proposed: list[int] = []
    checkpoint: RollbackPoint | None = None
    while True:
        tokens = _choose_until_wrong(sequence, logits, proposed, own, record)
        if checkpoint is not None:
            decoder.cache.roll_back(checkpoint, sequence.ids.shape[1] - 1)
        candidates.learn(len(proposed), len(tokens) - 1)
        if sequence.is_finished:
            record.finish(batch, 0, sequence.ids[0], logits[len(tokens) - 1])
            yield tokens
            return
        yield tokens
        proposed = candidates.propose(sequence.ids[0], _most(sequence, decoder))
        stepped = np.array([tokens[-1], *proposed])
        if proposed:
            checkpoint = decoder.cache.checkpoint(0, len(stepped))
            logits = decoder.verify(0, stepped)  # [1 + proposed, vocab]
        else:
            checkpoint = None
            logits, _ = batch.decode(stepped, np.ones(1, np.bool_))


def _choose_until_wrong(
    sequence: GrowingSequence,
    logits: Scores,
    proposed: list[int],
    own: CallerHooks,
    record: StepRecorder,
) -> list[int]:
    """Choose by each row of logits for as long as the choice is what the next row was made for."""
    tokens = []
    for row, candidate in zip(logits, [*proposed, None], strict=True):
        [scores] = own.process([sequence], [row[None]])
        record.step([0], 1, row[None], [scores])
        token = sequence.choose(scores[0])
        tokens.append(token)
        sequence.append(token)
        sequence.stop(scores, own)
        if sequence.is_finished or token != candidate:
            break
    return tokens


def _most(sequence: GrowingSequence, decoder: Decoder) -> int:
    """Candidates that leave room for the token behind them, and that a window can take back."""
    room = sequence.max_new_tokens - len(sequence.generated)
    window = decoder.cache.window
    return min(room, room if window is None else window) - 1
