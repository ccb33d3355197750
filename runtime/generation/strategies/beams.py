"""What the two beam searches share: rows of one prompt that go on, and those that are finished."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.generation.outputs import StepRecorder
from gptneo_onnx.runtime.generation.processors.base import Ids, Scores, log_probabilities
from gptneo_onnx.runtime.generation.strategies.sequences import CallerHooks, SequenceGroup
from gptneo_onnx.runtime.generation.strategies.slot_batch import SlotBatch

# transformers' score of a beam that must not be chosen: low, but a number.
EXCLUDED_SCORE = np.float32(-1e9)

Hits = Callable[[Ids], NDArray[np.bool_]]


@dataclass(frozen=True)
class FinishedBeam:
    """A result of beam search.

    Attributes:
        generated: the tokens behind the prompt.
        score: log probability by length to the length_penalty.
        parents: the beam that each token was taken from, counted over the prompt's beams.
    """

    generated: list[int]
    score: float
    parents: list[int]


class BeamsOfPrompt(Protocol):
    """One prompt's search, which finishes its rows."""

    rows: SequenceGroup

    def results(self) -> list[FinishedBeam]:
        """num_return_sequences of them, the best first."""


class Search(Protocol):
    """All prompts' searches, which take their steps together."""

    @property
    def prompts(self) -> Sequence[BeamsOfPrompt]:
        """One for each prompt."""

    def advance(self, scores: list[Scores]) -> dict[int, Ids]:
        """One step of every prompt by its log probabilities [beams, vocab].

        They are replaced by what processors make of them. Returns, for prompts that were not
        finished, the beam [beams] that each beam goes on from; its token is the last of `rows.ids`.
        """


def search_steps(
    batch: SlotBatch, search: Search, beams: int, record: StepRecorder
) -> Iterator[None]:
    """Step all prompts' beams together until every search is done.

    The batch has `beams` rows for each prompt, in order.
    """
    rows = [prompt.rows for prompt in search.prompts]
    logits, scores = batch.prefill()
    while True:
        likelihoods = log_probabilities(scores) if batch.guidance is None else scores
        parts = [_part(likelihoods, index, beams) for index in range(len(rows))]
        order = np.arange(batch.rows)
        parents = search.advance(parts)
        for index, following in parents.items():
            start = index * beams
            order[start : start + beams] = start + following
        live = [index * beams + beam for index in parents for beam in range(beams)]
        record.step(live, batch.rows, logits, [parts[index] for index in parents])
        yield
        if all(each.is_finished for each in rows):
            return
        batch.reorder(order)
        active = np.repeat([not each.is_finished for each in rows], beams)
        tokens = np.concatenate([each.ids[:, -1] for each in rows])
        logits, scores = batch.decode(tokens, active)


def _part(scores: Scores, index: int, beams: int) -> Scores:
    """One prompt's [beams, vocab]; a step leaves out finished rows behind the last other one."""
    part = scores[index * beams : (index + 1) * beams]
    return part if len(part) == beams else np.zeros((beams, scores.shape[1]), np.float32)


def candidate_hits(rows: SequenceGroup, own: CallerHooks, scores: Scores) -> Hits:
    """Which candidates the end tokens, stop strings, times and the caller's criteria stop."""

    def hits(candidates: Ids) -> NDArray[np.bool_]:
        stopped = rows.criteria(candidates, scores)
        if own.criteria:
            padding = np.broadcast_to(rows.padding, (len(candidates), len(rows.padding)))
            stopped = stopped | own.criteria(np.concatenate([padding, candidates], axis=1), scores)
        return stopped

    return hits


def best(scores: Scores, count: int) -> Ids:
    """The indices of the `count` largest of scores [n], in descending order."""
    count = min(count, len(scores))
    chosen = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    return chosen[np.argsort(-scores[chosen], kind="stable")]
