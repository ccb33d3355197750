"""How a request chooses tokens at a step, in sampled rows or in beams, and the events of it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.generation.call import GenerationCall
from gptneo_onnx.runtime.generation.generate import beam_search, growing_sequences
from gptneo_onnx.runtime.generation.strategies.beams import BeamRows, FinishedBeam
from gptneo_onnx.runtime.generation.strategies.quick_rows import QuickRows
from gptneo_onnx.runtime.generation.strategies.sequences import GrowingSequence
from gptneo_onnx.runtime.scheduling.events import FinishReason, TokenEvent
from gptneo_onnx.runtime.scheduling.prompt_scores import token_scores


class Rows(Protocol):
    """The rows of a request, however their tokens are chosen."""

    @property
    def active(self) -> list[bool]:
        """Which rows go on."""

    @property
    def last_tokens(self) -> list[int]:
        """The last token of each row."""

    @property
    def remaining(self) -> int:
        """How many steps follow at most."""

    def advance(self, logits: Logits, guided: Logits) -> tuple[list[TokenEvent], Ids | None]:
        """Choose by logits [rows, vocab]; return events, and the row that each row continues."""


class SampledGeneration:
    """The results of a request that are sampled, or chosen greedily.

    Attributes:
        sequences: the results.
    """

    def __init__(self, call: GenerationCall, logprobs: int | None) -> None:
        self.sequences = growing_sequences(call)
        self._rows = QuickRows(self.sequences, call.hooks)
        self._logprobs = logprobs

    @property
    def active(self) -> list[bool]:
        return [not each.is_finished for each in self.sequences]

    @property
    def last_tokens(self) -> list[int]:
        return [each.last_token for each in self.sequences]

    @property
    def remaining(self) -> int:
        return max(each.max_new_tokens - len(each.generated) for each in self.sequences)

    def advance(self, logits: Logits, guided: Logits) -> tuple[list[TokenEvent], Ids | None]:
        tokens = self._rows.advance(guided)
        return [self._event(row, token, logits[row]) for row, token in tokens], None

    def _event(self, row: int, token: int, logits: Logits) -> TokenEvent:
        score = None
        if self._logprobs is not None:
            [score] = token_scores(logits[None], np.array([token]), self._logprobs)
        return TokenEvent(row, token, score, _finish_reason(self.sequences[row]))


def _finish_reason(sequence: GrowingSequence) -> FinishReason | None:
    if not sequence.is_finished:
        return None
    return FinishReason.STOP if sequence.is_stopped else FinishReason.LENGTH


class BeamGeneration:
    """The beams of a request; their tokens are known at the end."""

    def __init__(self, call: GenerationCall) -> None:
        is_guided = call.guidance is not None
        self._rows = BeamRows(beam_search(call), call.config.num_beams, is_guided)
        self._ends = set(call.config.eos_token_ids)
        self._limit = call.limit_of(call.prompts[0])
        self._steps = 0

    @property
    def active(self) -> list[bool]:
        active: list[bool] = self._rows.active.tolist()
        return active

    @property
    def last_tokens(self) -> list[int]:
        tokens: list[int] = self._rows.last_tokens.tolist()
        return tokens

    @property
    def remaining(self) -> int:
        return self._limit - self._steps

    def advance(self, logits: Logits, guided: Logits) -> tuple[list[TokenEvent], Ids | None]:
        order = self._rows.advance(guided).order
        self._steps += 1
        if self._rows.active.any():
            return [], order
        [prompt] = self._rows.search.prompts
        results = enumerate(prompt.results())
        return [event for row, beam in results for event in self._events(row, beam)], None

    def _events(self, row: int, beam: FinishedBeam) -> Sequence[TokenEvent]:
        events = [TokenEvent(row, token) for token in beam.generated]
        is_full = len(beam.generated) >= self._limit and beam.generated[-1] not in self._ends
        reason = FinishReason.LENGTH if is_full else FinishReason.STOP
        return [*events[:-1], TokenEvent(row, beam.generated[-1], None, reason)]
