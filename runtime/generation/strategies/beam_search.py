"""Beam search and beam sampling (transformers.GenerationMixin._beam_search)."""

from collections.abc import Sequence

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.noise import TokenNoise, sample
from gptneo_onnx.runtime.generation.strategies.beams import (
    EXCLUDED_SCORE,
    FinishedBeam,
    best,
    penalized,
    stopped_candidates,
)
from gptneo_onnx.runtime.generation.strategies.hooks import CallerHooks, process_scores
from gptneo_onnx.runtime.generation.strategies.sequences import SequenceGroup


class BeamSearch:
    """The searches of all prompts; the caller's processors see them together."""

    def __init__(self, prompts: Sequence["PromptBeams"], hooks: CallerHooks) -> None:
        self.prompts = prompts
        self._hooks = hooks

    def advance(self, scores: list[Scores]) -> dict[int, Ids]:
        scores[:] = process_scores([prompt.rows for prompt in self.prompts], scores, self._hooks)
        return {
            index: prompt.advance(prompt_scores)
            for index, (prompt, prompt_scores) in enumerate(zip(self.prompts, scores, strict=True))
            if not prompt.rows.is_finished
        }


class PromptBeams:
    """The beams of one prompt.

    Lengths count generated tokens, so that nothing depends on padding. `finished` holds num_beams
    places for results, at first empty ones with the score -1e9. A long result can fall below that
    if length_penalty is negative: then the empty one stays, as in transformers.
    """

    def __init__(
        self,
        rows: SequenceGroup,
        config: GenerationConfig,
        max_new_tokens: int,
        hooks: CallerHooks,
        noise: TokenNoise | None,
    ) -> None:
        beams = config.num_beams
        self.rows = rows
        self._config = config
        self._max_new_tokens = max_new_tokens
        self._hooks = hooks
        self._noise = noise
        self._prompt_length = rows.ids.shape[1]
        # Enough candidates that num_beams go on even if every beam offers all its end tokens.
        self._candidates = max(2, 1 + len(config.eos_token_ids)) * beams
        self._scores = np.full(
            beams, EXCLUDED_SCORE
        )  # all beams are alike at first: only one counts
        self._scores[0] = 0
        self._parents = np.empty((beams, 0), np.int64)  # [beams, generated]
        self._finished = [FinishedBeam([], float(EXCLUDED_SCORE), [])] * beams
        self._finished_scores = np.full(beams, EXCLUDED_SCORE)
        self._is_filled = np.zeros(beams, np.bool_)
        self._can_improve = True

    def advance(self, scores: Scores) -> Ids:
        """Step by processed scores [beams, vocab]; return the beam that each beam continues."""
        beams, vocab = scores.shape
        accumulated = (scores + self._scores[:, None]).ravel()  # [beams * vocab]
        chosen = self._choose(accumulated)
        parents, tokens = chosen // vocab, chosen % vocab
        ids = np.concatenate([self.rows.ids[parents], tokens[:, None]], axis=1)
        history = np.concatenate([self._parents[parents], parents[:, None]], axis=1)
        stopped = stopped_candidates(self.rows, ids, self._hooks, scores)
        stopped |= history.shape[1] >= self._max_new_tokens
        self._finish(ids, history, accumulated[chosen], stopped)
        running = accumulated[chosen] + stopped.astype(np.float32) * EXCLUDED_SCORE
        kept = best(running, beams)
        self.rows.ids, self._parents, self._scores = ids[kept], history[kept], running[kept]
        self._update_done(stopped)
        continued: Ids = parents[kept]
        return continued

    def results(self) -> list[FinishedBeam]:
        return self._finished[: self._config.num_return_sequences]

    def _choose(self, accumulated: Scores) -> Ids:
        """Return the candidates' indices into beams * vocab, the best first."""
        if self._noise is None:
            return best(accumulated, self._candidates)
        drawn = sample(accumulated, self._noise, self.rows.ids.shape[1], self._candidates)
        if len(drawn) == self._candidates:
            return drawn
        # Too few tokens have a probability: others fill up the number, and are never finished.
        others = np.setdiff1d(np.arange(len(accumulated)), drawn)
        return np.concatenate([drawn, others[: self._candidates - len(drawn)]])

    def _finish(self, ids: Ids, history: Ids, scores: Scores, stopped: Mask) -> None:
        """Put stopped candidates among the results, if they are better than those."""
        beams, generated = self._config.num_beams, history.shape[1]
        is_finished = stopped & (np.arange(len(stopped)) < beams)  # the others are reserves
        is_full = self._config.early_stopping is True and bool(self._is_filled.all())
        offers = penalized(scores, generated, self._config.length_penalty)
        for is_out in (is_full, not self._can_improve, ~is_finished):
            offers = offers + np.asarray(is_out, np.float32) * EXCLUDED_SCORE
        merged = np.concatenate([self._finished_scores, offers])
        # torch ranks NaN (0 / 0) first.
        kept = np.argsort(-np.where(np.isnan(merged), np.inf, merged), kind="stable")[:beams]
        start = self._prompt_length
        offered = [
            FinishedBeam(ids[i, start:].tolist(), float(offers[i]), history[i].tolist())
            for i in range(len(ids))
        ]
        self._finished = [(self._finished + offered)[i] for i in kept]
        self._finished_scores = merged[kept]
        self._is_filled = np.concatenate([self._is_filled, is_finished])[kept]

    def _update_done(self, stopped: Mask) -> None:
        early, penalty = self._config.early_stopping, self._config.length_penalty
        generated = self._parents.shape[1]
        length = self._max_new_tokens if early == "never" and penalty > 0 else generated
        best_running = penalized(self._scores[:1], length, penalty)
        worst = np.where(self._is_filled, self._finished_scores.min(), EXCLUDED_SCORE)
        self._can_improve &= bool((best_running > worst).any())
        is_full = early is True and bool(self._is_filled.all())
        self.rows.is_finished = not self._can_improve or is_full or bool(stopped.all())
