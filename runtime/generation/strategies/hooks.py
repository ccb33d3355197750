"""What runs on a step's scores: the config's processors and criteria, and the caller's hooks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteriaList, Verdicts
from gptneo_onnx.runtime.generation.strategies.sequences import GrowingSequence, SequenceGroup


@dataclass(frozen=True)
class CallerHooks:
    """The caller's processors and criteria: called once a step, for all rows, padding included.

    With beams, criteria are called for each prompt's candidates. Groups of beams take turns, so
    processors are called for each group, with that group's beams of all prompts.

    Attributes:
        processors: generate()'s logits_processor, or none.
        criteria: generate()'s stopping_criteria, or none.
        fill: the token that finished sequences are filled up with.
    """

    processors: LogitsProcessorList
    criteria: StoppingCriteriaList
    fill: int

    def stopped(self, groups: Sequence[SequenceGroup], scores: Sequence[Scores]) -> Verdicts:
        """Return bool [all rows]: which rows the caller's criteria stop."""
        if not self.criteria:
            return np.zeros(sum(len(group.ids) for group in groups), np.bool_)
        return self.criteria(self.padded(groups), np.concatenate(scores))

    def padded(self, groups: Sequence[SequenceGroup]) -> Ids:
        """Return int64 [all rows, columns]; finished sequences are filled up on the right."""
        blocks = [group.padded for group in groups]
        width = max(block.shape[1] for block in blocks)
        return np.concatenate(
            [
                np.pad(block, ((0, 0), (0, width - block.shape[1])), constant_values=self.fill)
                for block in blocks
            ]
        )

    def process(self, groups: Sequence[SequenceGroup], scores: Sequence[Scores]) -> list[Scores]:
        """Run all rows' scores through the caller's processors, those of finished groups too."""
        batch_scores = np.concatenate(scores)  # a copy, which processors may change in place
        returned = self.processors(self.padded(groups), batch_scores)
        try:
            processed = np.asarray(returned, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"logits_processor returned a {type(returned).__name__}; scores "
                f"{list(batch_scores.shape)} of float32 went in, and must come out"
            ) from error
        if processed.shape != batch_scores.shape:
            raise InputError(
                f"logits_processor returned scores of shape {list(processed.shape)}; "
                f"{list(batch_scores.shape)} went in, and must come out"
            )
        ends = np.cumsum([len(group_scores) for group_scores in scores])
        return np.split(processed, ends[:-1])


def process_scores(
    groups: Sequence[SequenceGroup], scores: Sequence[Scores], hooks: CallerHooks
) -> list[Scores]:
    """Run each group's scores [rows, vocab] through all of its processors.

    The config's processors come first, then the caller's, then the config's warpers (temperature,
    top_k, top_p and the like). Scores of finished groups are left alone, but the caller's
    processors see them.
    """
    processed = [
        group_scores if group.is_finished else group.processors(group.ids, group_scores)
        for group, group_scores in zip(groups, scores, strict=True)
    ]
    if hooks.processors:
        processed = hooks.process(groups, processed)
    return [
        group_scores if group.is_finished else group.warpers(group.ids, group_scores)
        for group, group_scores in zip(groups, processed, strict=True)
    ]


def finish_stopped(
    sequences: Sequence[GrowingSequence],
    chosen: Sequence[int],
    scores: Sequence[Scores],
    hooks: CallerHooks,
) -> None:
    """Finish the sequences that a criterion stops.

    Args:
        sequences: all sequences of the step, one row each.
        chosen: indices of those that got a token.
        scores: of each sequence, [1, vocab]: what its token was chosen by.
        hooks: the caller's criteria.
    """
    stopped = hooks.stopped(sequences, scores)
    for index in chosen:
        sequence = sequences[index]
        by_config = sequence.criteria(sequence.ids, scores[index])
        if stopped[index] or by_config.any():
            sequence.is_stopped = sequence.is_finished = True
