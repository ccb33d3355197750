"""The outputs of generate() with return_dict_in_generate, and the recorder that fills them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.engine.cache import Cache
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache, SavedSequence
from gptneo_onnx.runtime.generation.processors.base import log_probabilities
from gptneo_onnx.runtime.model_output import ModelOutput


@dataclass(eq=False)
class GenerateDecoderOnlyOutput(ModelOutput):
    """transformers.generation.GenerateDecoderOnlyOutput.

    Attributes:
        sequences: int64 [results, length], prompts included.
        scores: each step's processed scores float32 [results, vocab], zeros where a sequence was
            finished; None unless output_scores.
        logits: each step's scores before any processor; None unless output_logits.
        past_key_values: every sequence's cache, if the call was given one.
    """

    sequences: Ids
    scores: tuple[Scores, ...] | None = None
    logits: tuple[Scores, ...] | None = None
    past_key_values: PromptCache | None = None


@dataclass(eq=False)
class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """transformers.generation.GenerateBeamDecoderOnlyOutput.

    Attributes:
        sequences: int64 [results, length], prompts included.
        sequences_scores: float32 [results], log probability divided by length to the power of
            length_penalty; None unless output_scores.
        scores: each step's processed log probabilities float32 [batch * beams, vocab].
        logits: each step's logits float32 [batch * beams, vocab].
        beam_indices: int64 [results, generated], the row of `scores` that each token was taken
            from; -1 after the end.
        past_key_values: None, since a beam's cache passes to another when it ends.
    """

    sequences: Ids
    sequences_scores: NDArray[np.float32] | None = None
    scores: tuple[Scores, ...] | None = None
    logits: tuple[Scores, ...] | None = None
    beam_indices: Ids | None = None
    past_key_values: None = None


@dataclass
class StepRecorder:
    """Keeps what an output holds of the steps.

    Attributes:
        wants_scores, wants_logits: whether each step's scores and logits are kept.
        wants_cache: whether sequences are saved when they finish.
        scores, logits: of each step, float32 [rows, vocab].
        saved: the finished sequences by row.
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
        """Keep a step.

        Args:
            rows: the rows that chose a token; the others are kept as zeros.
            count: the number of all rows.
            logits: of all rows, [count, vocab].
            scores: of `rows`, in one array or several, [some, vocab].
        """
        if self.wants_scores:
            self.scores.append(_spread(np.concatenate(scores), rows, count))
        if self.wants_logits:
            self.logits.append(_spread(logits[rows], rows, count))

    def finish(self, row: int, cache: Cache, slot: int, ids: Ids, logits: Scores) -> None:
        """Save a finished sequence, ids [length] and logits [vocab], before its slot is reused."""
        if self.wants_cache:
            self.saved[row] = SavedSequence.of_slot(cache, slot, ids, logits)

    def for_one_sequence(self) -> "StepRecorder":
        """Return an empty recorder that keeps the same."""
        return StepRecorder(self.wants_scores, self.wants_logits, self.wants_cache)

    def merge(self, records: Sequence["StepRecorder"]) -> None:
        """Take the records of sequences that were generated one after another, row by row."""
        self.saved = {row: record.saved[0] for row, record in enumerate(records) if record.saved}
        self.scores = _side_by_side([record.scores for record in records])
        self.logits = _side_by_side([record.logits for record in records])


def _spread(values: Scores, rows: Sequence[int], count: int) -> Scores:
    """Return [count, vocab] with values [rows, vocab] in these rows and zeros in the others."""
    step = np.zeros((count, values.shape[1]), np.float32)
    step[rows] = values
    return step


def _side_by_side(sequences: Sequence[list[Scores]]) -> list[Scores]:
    """Return steps [sequences, vocab] of each sequence's steps [1, vocab]; zeros after its last."""
    steps = []
    for step in range(max(map(len, sequences))):
        rows = [own[step] if step < len(own) else np.zeros_like(own[0]) for own in sequences]
        steps.append(np.concatenate(rows))
    return steps


def compute_transition_scores(
    sequences: Ids,
    scores: Sequence[Scores],
    beam_indices: Ids | None,
    normalize_logits: bool,
) -> NDArray[np.float32]:
    """Return the score of every generated token (GenerationMixin.compute_transition_scores).

    Returns:
        float32 [results, generated]; zeros after a result's end.

    Raises:
        InputError: no scores were kept.
    """
    if not scores:
        raise InputError(
            "there are no scores; pass return_dict_in_generate=True and output_scores=True"
        )
    stacked = np.stack(scores)  # [steps, rows, vocab]
    is_over = (stacked == 0).all(-1)  # [steps, rows]: StepRecorder keeps zeros for finished rows
    if normalize_logits:
        stacked = log_probabilities(stacked)
    if beam_indices is None:
        beam_indices = np.broadcast_to(
            np.arange(stacked.shape[1])[:, None], (stacked.shape[1], len(stacked))
        )
    is_after_end = beam_indices < 0
    longest = int((~is_after_end).sum(-1).max())
    rows, is_after_end = np.maximum(beam_indices[:, :longest], 0), is_after_end[:, :longest]
    tokens = sequences[:, sequences.shape[1] - longest :]
    tokens = np.minimum(tokens, stacked.shape[2] - 1)  # the fill token may be out of range
    transitions = stacked[np.arange(longest), rows, tokens]  # [results, generated]
    is_after_end = is_after_end | is_over[np.arange(longest), rows]
    return np.where(is_after_end, np.float32(0), transitions)
