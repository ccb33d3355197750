"""The sequences of a call, and what callers' own processors and criteria see of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.generation.noise import TokenNoise, sample
from gptneo_onnx.runtime.generation.processors.base import Ids, LogitsProcessorList, Scores
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteriaList, Verdicts


@dataclass
class SequenceGroup:
    """Sequences of one prompt: a single one, or its beams.

    Attributes:
        ids: int64 [rows, length], prompt and generated tokens, without padding.
        padding: int64 [columns], what stood to the left of the prompt.
        processors: before the caller's own.
        warpers: behind them.
        criteria: end tokens, stop strings and times; lengths are the strategies' own matter.
        is_finished: whether nothing is to follow.
    """

    ids: Ids
    padding: Ids
    processors: LogitsProcessorList
    warpers: LogitsProcessorList
    criteria: StoppingCriteriaList
    is_finished: bool = field(default=False, kw_only=True)

    @property
    def padded(self) -> Ids:
        """int64 [rows, columns + length], as callers of transformers' contracts see them."""
        return pad_left(self.padding, self.ids)


@dataclass
class GrowingSequence(SequenceGroup):
    """One sequence, [1, length], that takes a token after the other.

    Attributes:
        max_new_tokens: how many to generate at the most.
        noise: of the draws; None takes the likeliest token.
    """

    max_new_tokens: int
    noise: TokenNoise | None
    generated: list[int] = field(default_factory=list)

    def choose(self, scores: Scores) -> int:
        """The next token by its processed scores [vocab]."""
        return choose(scores, self.ids.shape[1], self.noise)

    def append(self, token: int) -> None:
        """Take a token; the last that there is room for finishes the sequence."""
        self.ids = np.append(self.ids, [[token]], axis=1)
        self.generated.append(token)
        self.is_finished = len(self.generated) >= self.max_new_tokens

    def stop(self, scores: Scores, own: "CallerHooks") -> None:
        """Finish if a criterion says so; scores [1, vocab] are what chose the last token."""
        stopped = self.criteria(self.ids, scores) | own.stopped([self], [scores])
        self.is_finished |= bool(stopped.any())


def choose(scores: Scores, position: int, noise: TokenNoise | None) -> int:
    """The likeliest token, or one drawn for that position; scores are [vocab]."""
    if noise is None:
        return int(scores.argmax())
    drawn = sample(scores, noise, position)
    if len(drawn) == 0:
        raise InputError("no token has a probability: processors have ruled out all; allow some")
    return int(drawn[0])


@dataclass(frozen=True)
class CallerHooks:
    """The caller's processors and criteria: called once a step, for all rows, padding included.

    With beams, criteria are called for each prompt's candidates; groups of beams take turns, so
    processors are called for each group, with that group's beams of all prompts.

    Attributes:
        processors: none, or what generate() was given as logits_processor.
        criteria: none, or its stopping_criteria.
        fill: the token that stands behind finished sequences.
    """

    processors: LogitsProcessorList
    criteria: StoppingCriteriaList
    fill: int

    @property
    def see_all(self) -> bool:
        """Whether finished rows matter, since there is someone to see them."""
        return bool(self.processors or self.criteria)

    def process(self, sequences: Sequence[SequenceGroup], scores: Sequence[Scores]) -> list[Scores]:
        """Every sequence's scores [rows, vocab] through its chain, and the caller's in between.

        Those of finished sequences are the caller's to see, and left alone otherwise.
        """
        chained = _through([sequence.processors for sequence in sequences], sequences, scores)
        if self.processors:
            chained = self._through_own(sequences, chained)
        return _through([sequence.warpers for sequence in sequences], sequences, chained)

    def stopped(self, sequences: Sequence[SequenceGroup], scores: Sequence[Scores]) -> Verdicts:
        """bool [all rows]: what the caller's criteria say."""
        rows = sum(len(sequence.ids) for sequence in sequences)
        if not self.criteria:
            return np.zeros(rows, np.bool_)
        return self.criteria(self.padded(sequences), np.concatenate(scores))

    def padded(self, sequences: Sequence[SequenceGroup]) -> Ids:
        """int64 [all rows, columns]: finished sequences are filled up on the right."""
        padded = [sequence.padded for sequence in sequences]
        width = max(rows.shape[1] for rows in padded)
        return np.concatenate(
            [
                np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=self.fill)
                for rows in padded
            ]
        )

    def _through_own(
        self, sequences: Sequence[SequenceGroup], scores: Sequence[Scores]
    ) -> list[Scores]:
        given = np.concatenate(scores)  # a copy, which may be changed in place
        returned = self.processors(self.padded(sequences), given)
        try:
            processed = np.asarray(returned, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"logits_processor returned a {type(returned).__name__}; scores "
                f"{list(given.shape)} of float32 went in, and must come out"
            ) from error
        if processed.shape != given.shape:
            raise InputError(
                f"logits_processor returned scores of shape {list(processed.shape)}; "
                f"{list(given.shape)} went in, and must come out"
            )
        return np.split(processed, np.cumsum([len(own) for own in scores])[:-1])


def _through(
    chains: Sequence[LogitsProcessorList],
    sequences: Sequence[SequenceGroup],
    scores: Sequence[Scores],
) -> list[Scores]:
    return [
        own if sequence.is_finished else chain(sequence.ids, own)
        for chain, sequence, own in zip(chains, sequences, scores, strict=True)
    ]


def pad_left(padding: Ids, ids: Ids) -> Ids:
    """[rows, columns + length]: the same padding before every row of ids [rows, length]."""
    return np.concatenate([np.broadcast_to(padding, (len(ids), len(padding))), ids], axis=1)


def joined(prompts: NDArray[np.int64], generated: Sequence[Sequence[int]], fill: int) -> Ids:
    """int64 [sequences, width + most generated]: each prompt as it was given, then its tokens."""
    width = prompts.shape[1]
    longest = max(map(len, generated))
    joined = np.full((len(generated), width + longest), fill, np.int64)
    joined[:, :width] = prompts
    for row, tokens in enumerate(generated):
        joined[row, width : width + len(tokens)] = tokens
    return joined
