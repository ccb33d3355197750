"""What generate() returns with return_dict_in_generate, and what is kept on the way there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache, SavedSequence
from gptneo_onnx.runtime.generation.processors.base import Ids, Scores, log_probabilities
from gptneo_onnx.runtime.generation.strategies.slot_batch import SlotBatch


class _ModelOutput(Mapping[str, Any]):
    """Fields are attributes, and those that are there also items, as in transformers.ModelOutput.

    output["scores"] and output.scores are the same, output[0] is the first of to_tuple().
    """

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if (value := getattr(self, key, None)) is None or key not in self._names():
                raise KeyError(key)
            return value
        return self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names() if getattr(self, name) is not None)

    def __len__(self) -> int:
        return len(self.to_tuple())

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are there, in order."""
        return tuple(getattr(self, name) for name in self)

    def _names(self) -> list[str]:
        return [each.name for each in fields(self)]  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class GenerateDecoderOnlyOutput(_ModelOutput):
    """transformers.generation.GenerateDecoderOnlyOutput.

    Attributes:
        sequences: int64 [results, length], prompts included.
        scores: processed scores float32 [results, vocab] of each step; zeros where a sequence was
            finished. None unless output_scores.
        logits: the same before any processor; None unless output_logits.
        past_key_values: every sequence's cache, if the call was given one.
    """

    sequences: Ids
    scores: tuple[Scores, ...] | None = None
    logits: tuple[Scores, ...] | None = None
    past_key_values: PromptCache | None = None


@dataclass(frozen=True, eq=False)
class GenerateBeamDecoderOnlyOutput(_ModelOutput):
    """transformers.generation.GenerateBeamDecoderOnlyOutput.

    Attributes:
        sequences: int64 [results, length], prompts included.
        sequences_scores: float32 [results], log probability by length to the length_penalty; None
            unless output_scores.
        scores: processed log probabilities float32 [batch * beams, vocab] of each step.
        logits: float32 [batch * beams, vocab] of each step.
        beam_indices: int64 [results, generated], the row of `scores` that each token was taken
            from; -1 behind the end.
        past_key_values: None: a beam's cache is given to another when it ends.
    """

    sequences: Ids
    sequences_scores: NDArray[np.float32] | None = None
    scores: tuple[Scores, ...] | None = None
    logits: tuple[Scores, ...] | None = None
    beam_indices: NDArray[np.int64] | None = None
    past_key_values: None = None


@dataclass
class StepRecorder:
    """What a call wants to know of its steps.

    Attributes:
        wants_scores, wants_logits: whether the steps' are kept.
        wants_cache: whether sequences are saved when they finish.
    """

    wants_scores: bool = False
    wants_logits: bool = False
    wants_cache: bool = False
    scores: list[Scores] = field(default_factory=list)
    logits: list[Scores] = field(default_factory=list)
    saved: dict[int, SavedSequence] = field(default_factory=dict)

    def step(
        self, rows: Sequence[int], count: int, logits: Scores, scores: Sequence[Scores]
    ) -> None:
        """Keep what rows were chosen by, out of `count`; others become zeros.

        `logits` has all rows, and `scores` those, one array or several behind each other.
        """
        if self.wants_scores:
            self.scores.append(_spread(np.concatenate(scores), rows, count))
        if self.wants_logits:
            self.logits.append(_spread(logits[rows], rows, count))

    @classmethod
    def merged(cls, records: Sequence["StepRecorder"]) -> "StepRecorder":
        """One record of several sequences that were generated one after the other."""
        merged = cls(records[0].wants_scores, records[0].wants_logits, records[0].wants_cache)
        merged.saved = {row: record.saved[0] for row, record in enumerate(records) if record.saved}
        merged.scores = _side_by_side([record.scores for record in records])
        merged.logits = _side_by_side([record.logits for record in records])
        return merged

    def finish(self, batch: SlotBatch, row: int, ids: Ids, logits: Scores) -> None:
        """Save a sequence, ids [length] and logits [vocab], before its slot is used otherwise."""
        if self.wants_cache:
            slot = batch.slot(row)
            self.saved[row] = SavedSequence.of_slot(batch.decoder.cache, slot, ids, logits)


def _spread(values: Scores, rows: Sequence[int], count: int) -> Scores:
    """[count, vocab] with values [rows, vocab] in these rows, zeros in others."""
    step = np.zeros((count, values.shape[1]), np.float32)
    step[rows] = values
    return step


def _side_by_side(kept: Sequence[list[Scores]]) -> list[Scores]:
    """Steps [1, vocab] of each sequence as steps [sequences, vocab]; zeros behind its last."""
    steps = []
    for step in range(max(map(len, kept))):
        present = [own[step] if step < len(own) else np.zeros_like(own[0]) for own in kept]
        steps.append(np.concatenate(present))
    return steps


def compute_transition_scores(
    sequences: Ids,
    scores: Sequence[Scores],
    beam_indices: NDArray[np.int64] | None,
    normalize_logits: bool,
) -> NDArray[np.float32]:
    """transformers.GenerationMixin.compute_transition_scores: the score of every generated token.

    Returns:
        float32 [results, generated]; zeros behind a result's end.

    Raises:
        InputError: no scores were kept.
    """
    if not scores:
        raise InputError(
            "there are no scores; pass return_dict_in_generate=True and output_scores=True"
        )
    stacked = np.stack(scores)  # [steps, rows, vocab]
    is_over = (stacked == 0).all(-1)  # [steps, rows]: what StepRecorder keeps of finished ones
    if normalize_logits:
        stacked = log_probabilities(stacked)
    if beam_indices is None:
        beam_indices = np.broadcast_to(
            np.arange(stacked.shape[1])[:, None], (stacked.shape[1], len(stacked))
        )
    is_behind = beam_indices < 0
    longest = int((~is_behind).sum(-1).max())
    rows, is_behind = np.maximum(beam_indices[:, :longest], 0), is_behind[:, :longest]
    tokens = sequences[:, sequences.shape[1] - longest :]
    tokens = np.minimum(tokens, stacked.shape[2] - 1)  # what fills up may be beyond the vocabulary
    transitions = stacked[np.arange(longest), rows, tokens]  # [results, generated]
    is_behind = is_behind | is_over[np.arange(longest), rows]
    return np.where(is_behind, np.float32(0), transitions)
