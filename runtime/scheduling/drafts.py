"""Drafts for a sequence that runs alone: candidates that one step checks, and wrong ones undone.

They change no token (strategies/assisted.py). With several sequences, a step of one token each is
the better use of the time.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.generation.strategies.candidates import (
    Candidates,
    DraftModel,
    PromptLookup,
)
from gptneo_onnx.runtime.scheduling.generation_rows import SampledGeneration
from gptneo_onnx.runtime.scheduling.running import RunningRequest
from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings

_log = logging.getLogger(__name__)


class Drafts:
    """Proposes tokens for the request that runs alone.

    A draft model has one slot, and a lookup goes on where it was: both serve one request at a time.
    """

    def __init__(self, settings: SchedulerSettings, assistant: Engine | None) -> None:
        self._tokens = settings.draft_tokens
        self._assistant = assistant
        self._running: RunningRequest | None = None
        self._candidates: Candidates | None = None

    def propose(self, running: RunningRequest, decoder: Decoder) -> list[int]:
        """Return tokens that may follow; none where the request is not one to draft for."""
        if not running.is_alone or not isinstance(running.rows, SampledGeneration):
            return []
        if running is not self._running:
            self._running = running
            self._candidates = self._candidates_for(running, running.rows)
        if self._candidates is None:
            return []
        [sequence] = running.rows.sequences
        window = decoder.cache.window
        room = running.rows.remaining if window is None else min(window, running.rows.remaining)
        try:
            return self._candidates.propose(sequence.ids[0], room - 1)
        except Exception:  # the request needs no drafts
            _log.exception("tokens could not be drafted: a request goes on without")
            self._candidates = None
            return []

    def check(
        self,
        running: RunningRequest,
        proposed: list[int],
        decoder: Decoder,
        choose: Callable[[RunningRequest, Logits, bool], object],
    ) -> tuple[int, BaseException | None]:
        """Step the last token and those proposed; let the request choose, and undo what is wrong.

        Args:
            running, proposed, decoder: propose()'s.
            choose: lets the request choose by logits [1, vocab]; they may be other than finite.

        Returns:
            How many of the tokens were right, and what the request's processors raised, if they
            did.

        Raises:
            DeviceError: the step failed.
        """
        assert isinstance(running.rows, SampledGeneration)
        assert self._candidates is not None
        [sequence], [slot] = running.rows.sequences, running.slots
        step = np.array([sequence.last_token, *proposed])
        point = decoder.cache.rollback_point(slot, len(step))
        logits = decoder.verify(slot, step)
        accepted = 0
        try:
            for row, candidate in enumerate([*proposed, None]):
                choose(running, logits[row : row + 1], False)
                if running.is_finished or sequence.last_token != candidate:
                    break
                accepted += 1
        except BaseException as error:
            return accepted, error
        decoder.cache.roll_back(point, sequence.ids.shape[1] - 1)
        self._candidates.learn(len(proposed), accepted)
        return accepted, None

    def _candidates_for(
        self, running: RunningRequest, rows: SampledGeneration
    ) -> Candidates | None:
        call, [sequence] = running.call, rows.sequences
        own = call.config.prompt_lookup_num_tokens
        if own is None and self._assistant is not None:
            cost = self._assistant.step_cost / call.engine.step_cost
            chains = call.chains(call.prompts[0])  # some keep state
            return DraftModel(self._assistant.decoder(1), call.config, chains, sequence.noise, cost)
        limit = own or self._tokens
        return PromptLookup(call.config, limit) if limit else None


def draft_engine(draft: Any, engine: Engine) -> Engine | None:
    """Return the engine of SchedulerSettings.draft; None if nothing drafts.

    Raises:
        InputError: it is no model, or one of another vocabulary; or the engine's directory has no
            such precision.
    """
    if draft is None:
        return None
    assistant = engine.twin(draft, "draft") if isinstance(draft, str) else Engine.of(draft, "draft")
    if assistant.config.vocab_size != engine.config.vocab_size:
        raise InputError(
            f"draft has a vocabulary of {assistant.config.vocab_size} tokens and the model one of "
            f"{engine.config.vocab_size}; they must have the same tokenizer"
        )
    return None if assistant is engine else assistant
