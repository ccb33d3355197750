"""Greedy decoding and sampling: one step of all sequences at a time."""

from collections.abc import Iterator, Sequence

import numpy as np

from gptneo_onnx.runtime.generation.outputs import StepRecorder
from gptneo_onnx.runtime.generation.strategies.hooks import (
    CallerHooks,
    finish_stopped,
    process_scores,
)
from gptneo_onnx.runtime.generation.strategies.sequences import GeneratedToken, GrowingSequence
from gptneo_onnx.runtime.generation.strategies.slot_batch import SlotBatch


def sample_tokens(
    batch: SlotBatch, sequences: Sequence[GrowingSequence], hooks: CallerHooks, record: StepRecorder
) -> Iterator[list[GeneratedToken]]:
    """Generate until every sequence is finished; yield the tokens of each step.

    Sequence i is the batch's row i. The first step prefills, all others decode.
    """
    logits, guided = batch.prefill()
    while True:
        # Choose by what the processors make of the scores.
        unfinished = [row for row, sequence in enumerate(sequences) if not sequence.is_finished]
        scores = process_scores(sequences, list(guided[:, None]), hooks)  # [1, vocab] of each
        record.step(unfinished, len(sequences), logits, [scores[row] for row in unfinished])
        tokens = {row: sequences[row].choose(scores[row][0]) for row in unfinished}
        # Append.
        for row, token in tokens.items():
            sequences[row].append(token)
        finish_stopped(sequences, unfinished, scores, hooks)
        for row in unfinished:
            if sequences[row].is_finished:
                ids = sequences[row].ids[0]
                record.finish(row, batch.decoder.cache, batch.slot(row), ids, logits[row])
        yield [
            GeneratedToken(row, token, logits[row], scores[row][0], sequences[row])
            for row, token in tokens.items()
        ]
        # Forward.
        active = np.array([not sequence.is_finished for sequence in sequences])
        if not active.any():
            return
        last = np.array([sequence.last_token for sequence in sequences])
        logits, guided = batch.decode(last, active)
