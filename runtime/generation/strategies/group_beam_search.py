"""Diverse beam search (Vijayakumar et al. 2016, arXiv:1610.02424).

It follows transformers up to 4.55 (GenerationMixin._group_beam_search with BeamSearchScorer), which
has since moved it out of the package. Groups of beams are searched one after another; each is
penalized for tokens that the groups before it have just chosen.

A result ends with the end token that it was scored with. (In transformers it ends with the first of
the end tokens, whichever was chosen, also where a criterion stopped it: tokens without a score.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList
from gptneo_onnx.runtime.generation.processors.penalties import HammingDiversityLogitsProcessor
from gptneo_onnx.runtime.generation.strategies.beams import (
    EXCLUDED_SCORE,
    FinishedBeam,
    best,
    penalized,
    stopped_candidates,
)
from gptneo_onnx.runtime.generation.strategies.hooks import CallerHooks, process_scores
from gptneo_onnx.runtime.generation.strategies.sequences import SequenceGroup


class GroupBeamSearch:
    """The searches of all prompts; the caller's processors see a group of all prompts at a time."""

    def __init__(
        self, prompts: Sequence["PromptGroups"], config: GenerationConfig, hooks: CallerHooks
    ) -> None:
        self.prompts = prompts
        self._config = config
        self._hooks = hooks

    def advance(self, scores: list[Scores]) -> dict[int, Ids]:
        unfinished = [i for i, prompt in enumerate(self.prompts) if not prompt.rows.is_finished]
        for index in unfinished:
            self.prompts[index].begin_step(scores[index].shape[1])
        for group in range(self._config.num_beam_groups):
            rows = [prompt.group_rows(group) for prompt in self.prompts]
            part = self.prompts[0].part(group)
            processed = process_scores(rows, [each[part] for each in scores], self._hooks)
            for index in unfinished:
                scores[index][part] = processed[index]
                self.prompts[index].advance_group(group, processed[index])
        return {index: self.prompts[index].end_step(scores[index]) for index in unfinished}


class PromptGroups:
    """The beams of one prompt, in groups; `rows` holds the beams of all groups, group by group."""

    def __init__(
        self, rows: SequenceGroup, config: GenerationConfig, max_new_tokens: int, hooks: CallerHooks
    ) -> None:
        self._config = config
        self._max_new_tokens = max_new_tokens
        self._hooks = hooks
        self._prompt_length = rows.ids.shape[1]
        self._size = config.num_beams // config.num_beam_groups
        self._groups = [_Group(self._size, config) for _ in range(config.num_beam_groups)]
        self._parents = np.empty((config.num_beams, 0), np.int64)  # [beams, generated]
        self._diversity = _Diversity(config)
        # As in transformers: after a bias, before what multiplies scores.
        processors = LogitsProcessorList(rows.processors)
        processors.insert(int(config.sequence_bias is not None), self._diversity)
        self.rows = replace(rows, processors=processors)
        self._scores = np.full(config.num_beams, EXCLUDED_SCORE)
        self._scores[:: self._size] = 0  # beams of a group are alike at first: one counts

    def part(self, group: int) -> slice:
        """Return the rows of a group's beams."""
        return slice(group * self._size, (group + 1) * self._size)

    def group_rows(self, group: int) -> SequenceGroup:
        """Return the group's beams, and make it the one that the diversity penalty is for."""
        self._diversity.group = group
        return replace(
            self.rows,
            ids=self.rows.ids[self.part(group)],
            is_finished=self.rows.is_finished or self._groups[group].is_done,
        )

    def begin_step(self, vocab_size: int) -> None:
        """Reset what the groups' turns fill in; groups that are done leave it so."""
        beams = self._config.num_beams
        self._next_parents = np.arange(beams)
        # Their rows are stepped with the others, so this must be a valid token.
        self._next_tokens = np.full(beams, min(max(self._config.fill_token_id, 0), vocab_size - 1))
        self._next_scores = np.zeros(beams, np.float32)
        self._diversity.current_tokens = np.zeros(beams, np.int64)

    def advance_group(self, group: int, scores: Scores) -> None:
        """Take a group's turn, by its processed scores [size, vocab]."""
        part = self.part(group)
        if not self._groups[group].is_done:
            (
                self._next_parents[part],
                self._next_tokens[part],
                self._next_scores[part],
            ) = self._extend(self._groups[group], part.start, scores + self._scores[part, None])
        self._diversity.current_tokens[part] = self._next_tokens[part]

    def end_step(self, scores: Scores) -> Ids:
        """End the step after all turns; return the beam [beams] that each beam continues."""
        parents, tokens = self._next_parents, self._next_tokens
        self._parents = np.concatenate([self._parents[parents], parents[:, None]], axis=1)
        self.rows.ids = np.concatenate([self.rows.ids[parents], tokens[:, None]], axis=1)
        self._scores = self._next_scores
        self._update_done(scores)
        return parents

    def results(self) -> list[FinishedBeam]:
        found = [beam for group in self._groups for beam in group.finished]
        ranked = sorted(found, key=lambda beam: beam.score)[::-1]
        return ranked[: self._config.num_return_sequences]

    def _extend(
        self, group: "_Group", start: int, accumulated: Scores
    ) -> tuple[list[int], list[int], list[np.float32]]:
        """Extend a group's beams by scores [size, vocab]; return parents, tokens, scores [size]."""
        eos, vocab = self._config.eos_token_ids, accumulated.shape[1]
        flat = accumulated.ravel()
        chosen = best(flat, max(2, 1 + len(eos)) * self._size)
        continuing = []
        for rank, index in enumerate(chosen.tolist()):
            beam, token = start + index // vocab, index % vocab
            if token not in eos:
                continuing.append((beam, token, flat[index]))
            elif rank < self._size:
                generated = [*self._generated(beam), token]
                group.add(generated, [*self._history(beam), beam], float(flat[index]))
            if len(continuing) == self._size:
                break
        if len(continuing) < self._size:
            raise InputError(
                f"eos_token_id leaves too few of {vocab} tokens for {self._size} beams to go on "
                "with; name fewer end tokens, or take fewer beams"
            )
        length = self._parents.shape[1] + 1
        group.update_done(float(flat[chosen[0]]), length, self._max_new_tokens)
        parents, tokens, scores = zip(*continuing, strict=True)
        return list(parents), list(tokens), list(scores)

    def _update_done(self, scores: Scores) -> None:
        """End the search when every group is done or nothing may follow; then all are results."""
        is_full = self._parents.shape[1] >= self._max_new_tokens
        groups_done = all(group.is_done for group in self._groups)
        stopped = stopped_candidates(self.rows, self.rows.ids, self._hooks, scores).all()
        self.rows.is_finished = is_full or groups_done or bool(stopped)
        if not self.rows.is_finished:
            return
        for index, group in enumerate(self._groups):
            part = self.part(index)
            for beam in range(part.start, part.stop):
                if not group.is_done:
                    generated, history = self._generated(beam), self._history(beam)
                    group.add(generated, history, float(self._scores[beam]))

    def _generated(self, beam: int) -> list[int]:
        return [int(token) for token in self.rows.ids[beam, self._prompt_length :]]

    def _history(self, beam: int) -> list[int]:
        return [int(parent) for parent in self._parents[beam]]


@dataclass
class _Group:
    """The results of one group so far, at most as many as it has beams (BeamHypotheses)."""

    size: int
    config: GenerationConfig
    finished: list[FinishedBeam] = field(default_factory=list)
    is_done: bool = False

    @property
    def worst(self) -> float:
        return min(beam.score for beam in self.finished)

    def add(self, generated: list[int], parents: list[int], log_probability: float) -> None:
        """Keep a beam if it is among the best."""
        score = self._penalized(log_probability, len(parents))
        if len(self.finished) < self.size or score > self.worst:
            self.finished.append(FinishedBeam(generated, score, parents))
        if len(self.finished) > self.size:
            scores = [beam.score for beam in self.finished]
            del self.finished[scores.index(min(scores))]

    def update_done(self, log_probability: float, generated: int, limit: int) -> None:
        """Mark the group as done unless its best running beam can still become a result."""
        early, penalty = self.config.early_stopping, self.config.length_penalty
        if len(self.finished) < self.size:
            return
        length = limit if early == "never" and penalty > 0 else generated
        self.is_done |= early is True or self.worst >= self._penalized(log_probability, length)

    def _penalized(self, log_probability: float, length: int) -> float:
        scores = np.array([log_probability], np.float32)
        return float(penalized(scores, length, self.config.length_penalty)[0])


class _Diversity:
    """HammingDiversityLogitsProcessor, with the arguments that change at each step."""

    def __init__(self, config: GenerationConfig) -> None:
        self._processor = HammingDiversityLogitsProcessor(
            config.diversity_penalty, config.num_beams, config.num_beam_groups
        )
        self.current_tokens = np.zeros(config.num_beams, np.int64)
        self.group = 0

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores:
        return self._processor(input_ids, scores, self.current_tokens, self.group)
