"""Assisted decoding: one step checks several candidates, and wrong ones are taken back.

A sequence's choice at a position depends on its scores and its seed alone, so a candidate is right
if it is what would have been chosen anyway, greedily or by sampling. The result is therefore that
of plain decoding, token for token. (transformers.GenerationMixin._assisted_decoding promises that
for greedy decoding, and an equal distribution for sampling.)
"""

from collections.abc import Iterator

import numpy as np

from gptneo_onnx.runtime.arrays import Scores
from gptneo_onnx.runtime.engine.cache import RollbackPoint
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.generation.outputs import StepRecorder
from gptneo_onnx.runtime.generation.strategies.candidates import Candidates
from gptneo_onnx.runtime.generation.strategies.hooks import (
    CallerHooks,
    finish_stopped,
    process_scores,
)
from gptneo_onnx.runtime.generation.strategies.sequences import GeneratedToken, GrowingSequence
from gptneo_onnx.runtime.generation.strategies.slot_batch import SlotBatch


def assisted_tokens(
    batch: SlotBatch,
    row: int,
    sequence: GrowingSequence,
    candidates: Candidates,
    hooks: CallerHooks,
    record: StepRecorder,
) -> Iterator[list[GeneratedToken]]:
    """Generate one sequence, the call's row `row`, in the batch's only slot; yield each round."""
    decoder = batch.decoder
    logits, _ = batch.prefill()  # [1, vocab]
    proposed: list[int] = []
    point: RollbackPoint | None = None
    while True:
        tokens = _choose_until_wrong(row, sequence, logits, proposed, hooks, record)
        if point is not None:
            decoder.cache.roll_back(point, sequence.ids.shape[1] - 1)
        candidates.learn(len(proposed), len(tokens) - 1)
        if sequence.is_finished:
            record.finish(0, decoder.cache, 0, sequence.ids[0], logits[len(tokens) - 1])
            yield tokens
            return
        yield tokens
        proposed = candidates.propose(sequence.ids[0], _limit(sequence, decoder))
        step = np.array([sequence.last_token, *proposed])
        if proposed:
            point = decoder.cache.rollback_point(0, len(step))
            logits = batch.verify(step)  # [1 + proposed, vocab]
        else:
            point = None
            logits, _ = batch.decode(step, np.ones(1, np.bool_))


def _choose_until_wrong(
    row: int,
    sequence: GrowingSequence,
    logits: Scores,
    proposed: list[int],
    hooks: CallerHooks,
    record: StepRecorder,
) -> list[GeneratedToken]:
    """Choose a token by each row; stop at the first that differs from its candidate.

    Later rows were computed after the candidate, not after the token that was chosen.
    """
    tokens = []
    for token_logits, candidate in zip(logits, [*proposed, None], strict=True):
        [scores] = process_scores([sequence], [token_logits[None]], hooks)
        record.step([0], 1, token_logits[None], [scores])
        token = sequence.choose(scores[0])
        sequence.append(token)
        finish_stopped([sequence], [0], [scores], hooks)
        tokens.append(GeneratedToken(row, token, token_logits, scores[0], sequence))
        if sequence.is_finished or token != candidate:
            break
    return tokens


def _limit(sequence: GrowingSequence, decoder: Decoder) -> int:
    """Return how many candidates leave room for the token after them and can be taken back."""
    room = sequence.max_new_tokens - len(sequence.generated)
    window = decoder.cache.window
    return min(room, room if window is None else window) - 1
