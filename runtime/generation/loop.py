"""Greedy decoding and sampling: one step of all sequences at a time."""

from collections.abc import Iterator, Sequence

import numpy as np

from gptneo_onnx.runtime.generation.logits_process import Scores
from gptneo_onnx.runtime.generation.outputs import Record
from gptneo_onnx.runtime.generation.sequences import OwnCallables, Sampled
from gptneo_onnx.runtime.generation.slot_batch import SlotBatch


def generate_steps(
    batch: SlotBatch, sequences: Sequence[Sampled], own: OwnCallables, record: Record
) -> Iterator[dict[int, int]]:
    """Generate until every sequence is finished; each step yields {index: its new token}.

    Sequence i is the batch's row i. The first step prefills, every other one decodes.
    """
    logits, scores = batch.prefill()
    while True:
        unfinished = [i for i, sequence in enumerate(sequences) if not sequence.is_finished]
        processed = _processed(sequences, unfinished, scores, own)
        record.step(logits, processed, unfinished, len(sequences))
        tokens = {}
        for index in unfinished:
            tokens[index] = sequences[index].choose(processed[index])
            sequences[index].append(tokens[index])
        _stop(sequences, unfinished, processed, own)
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


def _processed(
    sequences: Sequence[Sampled], unfinished: list[int], scores: Scores, own: OwnCallables
) -> Scores:
    """Processed scores [rows, vocab]; of finished rows only where the caller's own want all."""
    if len(unfinished) == len(sequences):
        return own.process(sequences, scores)
    processed = np.zeros((len(sequences), scores.shape[1]), np.float32)
    if own.processors:
        processed[: len(scores)] = scores
        return own.process(sequences, processed)
    processed[unfinished] = own.process([sequences[i] for i in unfinished], scores[unfinished])
    return processed


def _stop(
    sequences: Sequence[Sampled], unfinished: list[int], scores: Scores, own: OwnCallables
) -> None:
    stopped = own.stopped(sequences, scores)
    for index in unfinished:
        sequence = sequences[index]
        by_criterion = sequence.criteria(sequence.ids, scores[index : index + 1])
        sequence.is_finished |= bool(stopped[index] or by_criterion.any())
