"""Beams: what beam search and diverse beam search share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.generation.outputs import StepRecorder
from gptneo_onnx.runtime.generation.processors.base import log_probabilities
from gptneo_onnx.runtime.generation.strategies.hooks import CallerHooks
from gptneo_onnx.runtime.generation.strategies.sequences import SequenceGroup
from gptneo_onnx.runtime.generation.strategies.slot_batch import SlotBatch

# transformers' score of a beam that must not be chosen: low, but a number.
EXCLUDED_SCORE = np.float32(-1e9)


@dataclass(frozen=True)
class FinishedBeam:
    """A result of beam search.

    Attributes:
        generated: the tokens after the prompt.
        score: log probability divided by length to the power of length_penalty.
        parents: the beam that each token was taken from, numbered within the prompt.
    """

    generated: list[int]
    score: float
    parents: list[int]


class BeamsOfPrompt(Protocol):
    """The search of one prompt; it finishes its rows."""

    rows: SequenceGroup

    def results(self) -> list[FinishedBeam]:
        """Return the best num_return_sequences beams, the best first."""


class Search(Protocol):
    """The searches of all prompts, which take their steps together."""

    @property
    def prompts(self) -> Sequence[BeamsOfPrompt]:
        """The search of each prompt."""

    def advance(self, scores: list[Scores]) -> dict[int, Ids]:
        """Take one step of every prompt by its log probabilities [beams, vocab].

        The list's entries are replaced by what processors make of them. For each prompt that was
        not finished, return the beam [beams] that each beam continues; its token is the last of
        `rows.ids`.
        """


def run_search(batch: SlotBatch, search: Search, beams: int, record: StepRecorder) -> None:
    """Step all prompts' beams together until every search is finished.

    The batch has `beams` rows for each prompt, in order.
    """
    rows = BeamRows(search, beams, is_guided=batch.guidance is not None)
    logits, guided = batch.prefill()
    while True:
        step = rows.advance(guided)
        record.step(step.rows, batch.rows, logits, step.scores)
        if not rows.active.any():
            return
        batch.reorder(step.order)
        logits, guided = batch.decode(rows.last_tokens, rows.active)


class BeamStep(NamedTuple):
    """What a step of a search did.

    Attributes:
        order: int64 [rows], the row that each row continues.
        rows: the rows that took part.
        scores: what they were chosen by, [beams, vocab] of each of their prompts.
    """

    order: Ids
    rows: list[int]
    scores: list[Scores]


class BeamRows:
    """The beams of all prompts, `beams` rows of each, whoever steps the model."""

    def __init__(self, search: Search, beams: int, is_guided: bool) -> None:
        self.search = search
        self._beams = beams
        self._is_guided = is_guided

    @property
    def _prompts(self) -> list[SequenceGroup]:
        return [prompt.rows for prompt in self.search.prompts]

    @property
    def active(self) -> Mask:
        """Which rows go on."""
        return np.repeat([not prompt.is_finished for prompt in self._prompts], self._beams)

    @property
    def last_tokens(self) -> Ids:
        """The last token of each row."""
        return np.concatenate([prompt.ids[:, -1] for prompt in self._prompts])

    def advance(self, guided: Scores) -> BeamStep:
        """Continue the best beams by scores [rows, vocab], as guidance leaves them."""
        likelihoods = guided if self._is_guided else log_probabilities(guided)
        prompts = len(self.search.prompts)
        scores = np.split(likelihoods, prompts)  # [beams, vocab] of each prompt
        parents = self.search.advance(scores)
        order = np.arange(prompts * self._beams)
        for index, prompt_parents in parents.items():
            start = index * self._beams
            order[start : start + self._beams] = start + prompt_parents
        rows = [index * self._beams + beam for index in parents for beam in range(self._beams)]
        return BeamStep(order, rows, [scores[index] for index in parents])


def stopped_candidates(
    rows: SequenceGroup, candidates: Ids, hooks: CallerHooks, scores: Scores
) -> Mask:
    """Return which candidates [n, length] a criterion of the config or of the caller stops."""
    stopped = rows.criteria(candidates, scores)
    if hooks.criteria:
        stopped = stopped | hooks.criteria(rows.padded_ids(candidates), scores)
    return stopped


def penalized(scores: Scores, length: int, length_penalty: float) -> Scores:
    """Return scores divided by length to the power of length_penalty, in float32 as torch divides.

    A power beyond float32 is infinite, one below it 0.

    Raises:
        InputError: a power that Python or torch cannot hold.
    """
    is_whole = isinstance(length_penalty, int)
    most = 63 if is_whole else 1024  # bits of torch's integers, and of the greatest float
    if 0 < length_penalty < math.inf and math.log2(length) * length_penalty >= most:
        raise InputError(
            f"length_penalty is {shown(length_penalty)}, and {length} to the power of it cannot be "
            "computed; a lower number is allowed"
        )
    with np.errstate(all="ignore"):
        quotients: Scores = scores / np.float32(float(length) ** length_penalty)
    return quotients


def best(scores: Scores, count: int) -> Ids:
    """Return the indices of the `count` largest of scores [n], in descending order."""
    count = min(count, len(scores))
    chosen = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    return chosen[np.argsort(-scores[chosen], kind="stable")]
