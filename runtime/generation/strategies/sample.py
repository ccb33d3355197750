"""Greedy decoding and sampling: one step of all sequences at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from gptneo_onnx.runtime.generation.outputs import StepRecorder
from gptneo_onnx.runtime.generation.processors.base import Scores
from gptneo_onnx.runtime.generation.strategies.sequences import CallerHooks, GrowingSequence
from gptneo_onnx.runtime.generation.strategies.slot_batch import SlotBatch


def generate_steps(
    batch: SlotBatch, sequences: Sequence[GrowingSequence], own: CallerHooks, record: StepRecorder
) -> Iterator[dict[int, int]]:
    """Generate until every sequence is finished; each step yields {index: its new token}.

    Sequence i is the batch's row i. The first step prefills, every other one decodes.
    """
    logits, scores = batch.prefill()
    while True:
        unfinished = [i for i, sequence in enumerate(sequences) if not sequence.is_finished]
        seen = list(range(len(sequences))) if own.see_all else unfinished
        rows = [_row(scores, index) for index in seen]
        processed = dict(zip(seen, own.process([sequences[i] for i in seen], rows), strict=True))
        record.step(unfinished, len(sequences), logits, [processed[i] for i in unfinished])
        tokens = {index: sequences[index].choose(processed[index][0]) for index in unfinished}
        for index, token in tokens.items():
            sequences[index].append(token)
        _stop(sequences, tokens, processed, own)
        for index in unfinished:
            if sequences[index].is_finished:
                record.finish(batch, index, sequences[index].ids[0], logits[index])
        yield tokens
        if all(sequence.is_finished for sequence in sequences):
            return
        logits, scores = batch.decode(
            np.array([sequence.ids[0, -1] for sequence in sequences]),
            np.array([not sequence.is_finished for sequence in sequences]),
        )


def _row(scores: Scores, index: int) -> Scores:
    """[1, vocab] of [rows, vocab]; a step leaves out finished rows behind the last other one."""
    if index < len(scores):
        return scores[index : index + 1]
    return np.zeros((1, scores.shape[1]), np.float32)


def _stop(
    sequences: Sequence[GrowingSequence],
    tokens: Iterable[int],
    processed: Mapping[int, Scores],
    own: CallerHooks,
) -> None:
    """Finish those of the sequences that got a token and that a criterion stops."""
    stopped = own.stopped(sequences, list(processed.values()))
    for index in tokens:
        sequence = sequences[index]
        by_criterion = sequence.criteria(sequence.ids, processed[index])
        sequence.is_finished |= bool(stopped[index] or by_criterion.any())
