"""The rows of a running request: what they choose at a step, and what becomes of the events."""

from typing import Protocol

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Logits, Mask
from gptneo_onnx.runtime.engine.decoder import check_finite
from gptneo_onnx.runtime.generation.call import GenerationCall
from gptneo_onnx.runtime.generation.generate import beam_search, growing_sequences
from gptneo_onnx.runtime.generation.strategies.beams import BeamRows, FinishedBeam
from gptneo_onnx.runtime.generation.strategies.sample import SampledRows
from gptneo_onnx.runtime.generation.strategies.sequences import GeneratedToken
from gptneo_onnx.runtime.scheduling.events import FinishReason, TokenEvent
from gptneo_onnx.runtime.scheduling.prompt_scores import token_scores
from gptneo_onnx.runtime.scheduling.request import Request


class Rows(Protocol):
    """The rows of a request, however their tokens are chosen."""

    @property
    def active(self) -> Mask:
        """Which rows go on."""

    @property
    def last_tokens(self) -> Ids:
        """The last token of each row."""

    def advance(self, logits: Logits, guided: Logits) -> tuple[list[TokenEvent], Ids | None]:
        """Choose by logits [rows, vocab]; return events, and the row that each row continues."""


class SampledGeneration:
    """The results of a request that are sampled, or chosen greedily."""

    def __init__(self, call: GenerationCall, logprobs: int | None) -> None:
        self._rows = SampledRows(growing_sequences(call), call.hooks)
        self._logprobs = logprobs

    @property
    def active(self) -> Mask:
        return self._rows.active

    @property
    def last_tokens(self) -> Ids:
        return self._rows.last_tokens

    def advance(self, logits: Logits, guided: Logits) -> tuple[list[TokenEvent], Ids | None]:
        return [self._event(token) for token in self._rows.advance(logits, guided)], None

    def _event(self, token: GeneratedToken) -> TokenEvent:
        score = None
        if self._logprobs is not None:
            [score] = token_scores(token.logits[None], np.array([token.token]), self._logprobs)
        reason = None
        if token.sequence.is_finished:
            is_stopped = token.sequence.is_stopped
            reason = FinishReason.STOP if is_stopped else FinishReason.LENGTH
        return TokenEvent(token.row, token.token, score, reason)


class BeamGeneration:
    """The beams of a request; their tokens are known at the end."""

    def __init__(self, call: GenerationCall) -> None:
        is_guided = call.guidance is not None
        self._rows = BeamRows(beam_search(call), call.config.num_beams, is_guided)
        self._ends = set(call.config.eos_token_ids)
        self._limit = call.limit_of(call.prompts[0])

    @property
    def active(self) -> Mask:
        return self._rows.active

    @property
    def last_tokens(self) -> Ids:
        return self._rows.last_tokens

    def advance(self, logits: Logits, guided: Logits) -> tuple[list[TokenEvent], Ids | None]:
        order = self._rows.advance(guided).order
        if self._rows.active.any():
            return [], order
        [prompt] = self._rows.search.prompts
        results = enumerate(prompt.results())
        return [event for row, beam in results for event in self._events(row, beam)], order

    def _events(self, row: int, beam: FinishedBeam) -> list[TokenEvent]:
        events = [TokenEvent(row, token) for token in beam.generated]
        is_full = len(beam.generated) >= self._limit and beam.generated[-1] not in self._ends
        reason = FinishReason.LENGTH if is_full else FinishReason.STOP
        return [*events[:-1], TokenEvent(row, beam.generated[-1], None, reason)]


class RunningRequest:
    """A request in its slots: row r in slot slots[r]; with guidance in slots[2 r], and its negative
    prompt in slots[2 r + 1].

    Attributes:
        request: whose rows these are.
        slots: where they are.
    """

    def __init__(self, request: Request, slots: list[int]) -> None:
        assert request.call is not None
        self.request = request
        self.slots = slots
        self._call = request.call
        self._streams = len(request.prompts)
        self._rows: Rows = (
            BeamGeneration(self._call)
            if self._call.config.num_beams > 1
            else SampledGeneration(self._call, request.options.logprobs)
        )

    @property
    def active(self) -> Mask:
        """Which slots go on, bool [slots]."""
        return np.repeat(self._rows.active, self._streams)

    @property
    def tokens(self) -> Ids:
        """The token that each slot is to be stepped by, int64 [slots]."""
        return np.repeat(self._rows.last_tokens, self._streams)

    def advance(self, logits: Logits) -> dict[int, int]:
        """Take the logits of the request's slots [slots, vocab], choose, and send the events.

        Returns:
            For slots whose sequence is replaced, the slot whose sequence they are to get.

        Raises:
            ModelFileError: the logits are not finite.
            Exception: what the request's processors raise.
        """
        if not self._call.config.remove_invalid_values:
            check_finite(logits, None)
        streams = logits.reshape(-1, self._streams, logits.shape[-1])
        guidance, guided = self._call.guidance, streams[:, 0]
        if guidance is not None:
            guided = guidance.guided(guided, streams[:, 1])
        events, order = self._rows.advance(streams[:, 0], guided)
        self.request.send(events)
        if order is None:
            return {}
        sources = (order[:, None] * self._streams + np.arange(self._streams)).ravel()
        return {slot: self.slots[source] for slot, source in zip(self.slots, sources, strict=True)}
