"""Greedy decoding and sampling: one step of all sequences at a time."""

from collections.abc import Iterator, Sequence

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
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
    rows = SampledRows(sequences, hooks)
    logits, guided = batch.prefill()
    while True:
        tokens = rows.advance(logits, guided)
        chosen_by = [token.scores[None] for token in tokens]
        record.step([token.row for token in tokens], len(sequences), logits, chosen_by)
        for token in tokens:
            if token.sequence.is_finished:
                cache, slot = batch.decoder.cache, batch.slot(token.row)
                record.finish(token.row, cache, slot, token.sequence.ids[0], token.logits)
        yield tokens
        if not rows.active.any():
            return
        logits, guided = batch.decode(rows.last_tokens, rows.active)


class SampledRows:
    """Sequences that take one token each at every step, whoever steps the model."""

    def __init__(self, sequences: Sequence[GrowingSequence], hooks: CallerHooks) -> None:
        self.sequences = sequences
        self._hooks = hooks

    @property
    def active(self) -> Mask:
        """Which rows go on."""
        return np.array([not sequence.is_finished for sequence in self.sequences])

    @property
    def last_tokens(self) -> Ids:
        """The last token of each row."""
        return np.array([sequence.last_token for sequence in self.sequences])

    def advance(self, logits: Scores, guided: Scores) -> list[GeneratedToken]:
        """Choose and append a token of every unfinished row; return these tokens.

        Args:
            logits: float32 [rows, vocab], the model's.
            guided: float32 [rows, vocab], what guidance makes of them.
        """
        # Choose by what the processors make of the scores.
        unfinished = [row for row, each in enumerate(self.sequences) if not each.is_finished]
        scores = process_scores(self.sequences, list(guided[:, None]), self._hooks)
        tokens = {row: self.sequences[row].choose(scores[row][0]) for row in unfinished}
        # Append.
        for row, token in tokens.items():
            self.sequences[row].append(token)
        finish_stopped(self.sequences, unfinished, scores, self._hooks)
        return [
            GeneratedToken(row, token, logits[row], scores[row][0], self.sequences[row])
            for row, token in tokens.items()
        ]
