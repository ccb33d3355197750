"""Candidates for assisted decoding: from a draft model, or from the text itself."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.engine.cache import RollbackPoint
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.generation.config import GenerationConfig, explicit_names
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES
from gptneo_onnx.runtime.generation.noise import TokenNoise
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList, probabilities
from gptneo_onnx.runtime.generation.strategies.draft_pace import DraftPace
from gptneo_onnx.runtime.generation.strategies.sequences import choose_with_margin

_LONGEST_PAUSE = 16


class Candidates(Protocol):
    """Proposes how a sequence continues."""

    def propose(self, ids: Ids, limit: int) -> list[int]:
        """Propose up to `limit` next tokens after ids [length]; may return an empty list."""

    def learn(self, proposed: int, accepted: int) -> None:
        """Take note of how many tokens of the last proposal were accepted."""


class AdaptiveLength:
    """The number of candidates to look up, which adapts to how many were accepted.

    A step of several tokens costs more than a step of one. Where proposals fail they become rare,
    so that text they do not help is not slowed down noticeably.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._length = limit
        self._failures = 0
        self._pause = 0

    def next_length(self) -> int:
        """Return the number for this round; 0 while proposals are not worth trying."""
        if self._pause:
            self._pause -= 1
            return 0
        return self._length

    def learn(self, proposed: int, accepted: int) -> None:
        if proposed == 0:
            return
        if accepted == proposed:
            self._length = min(self.limit, max(self._length, 2 * proposed))
        else:
            self._length = min(self.limit, accepted + 2)
        self._failures = self._failures + 1 if accepted == 0 else 0
        self._pause = min(2**self._failures - 1, _LONGEST_PAUSE)


class PromptLookup:
    """Proposes what followed the last few tokens when they occurred before in the text.

    Prompt lookup decoding (Saxena 2023; transformers.PromptLookupCandidateGenerator). It takes the
    latest occurrence of the longest run. A continuation that reaches the end of the text continues
    with itself, as repetitions do.
    """

    def __init__(self, config: GenerationConfig, limit: int | None = None) -> None:
        """Prepare to look up `limit` tokens at most; None takes the config's number, or 10."""
        self._longest = config.max_matching_ngram_size or 2
        self._ends = set(config.eos_token_ids)
        self._adaptive = AdaptiveLength(limit or config.prompt_lookup_num_tokens or 10)
        self._following: dict[tuple[int, ...], int] = {}  # a run -> where its continuation starts
        self._seen = 0

    def propose(self, ids: Ids, limit: int) -> list[int]:
        text = ids.tolist()
        self._index(text)
        limit = min(limit, self._adaptive.next_length())
        if limit < 1:
            return []
        for length in range(min(self._longest, len(text) - 1), 0, -1):
            start = self._following.get(tuple(text[-length:]))
            if start is not None:
                return self._continuation(text, start, limit)
        return []

    def learn(self, proposed: int, accepted: int) -> None:
        self._adaptive.learn(proposed, accepted)

    def _index(self, text: list[int]) -> None:
        """Index every run that has a continuation: those that end before the last token."""
        for end in range(max(1, self._seen), len(text)):
            for length in range(1, min(self._longest, end) + 1):
                self._following[tuple(text[end - length : end])] = end
        self._seen = len(text)

    def _continuation(self, text: list[int], start: int, limit: int) -> list[int]:
        length = len(text)
        for index in range(start, start + limit):
            if text[index] in self._ends:  # even an accepted end token saves no step
                break
            text.append(text[index])
        return text[length:]


class DraftModel:
    """A smaller model of the same vocabulary that drafts (Leviathan et al. 2023, arXiv:2211.17192).

    It chooses by the same processors and the same noise as the large model, so that the two agree
    as often as possible. A draft ends where DraftPace says so, and at a token that is less likely
    than assistant_confidence_threshold, if the caller or the model's config sets one.
    """

    def __init__(
        self,
        decoder: Decoder,
        config: GenerationConfig,
        processors: Sequence[LogitsProcessorList],
        noise: TokenNoise | None,
        cost: float,
    ) -> None:
        """Prepare to draft; `cost` is that of a step, where one of the large model costs 1."""
        self._decoder = decoder
        self._processors = processors
        self._noise = noise
        self._ends = set(config.eos_token_ids)
        self._threshold = _asked_threshold(config)
        self._most = config.num_assistant_tokens
        self._pace = DraftPace(cost)
        self._slot_ids = np.empty(0, np.int64)  # the tokens in the slot
        self._point: RollbackPoint | None = None
        decoder.cache.clear(0)

    def propose(self, ids: Ids, limit: int) -> list[int]:
        cache = self._decoder.cache
        room = cache.capacity - len(ids)
        window = cache.window or limit
        limit = min(limit, self._most, room, window)
        if limit < 1 or not self._pace.begin():
            return []
        self._return_to(ids)
        logits = self._decoder.prefill(0, ids[len(self._slot_ids) :])
        self._point = cache.rollback_point(0, limit)
        drafted = ids
        while True:
            token, goes_on = self._choose(drafted, logits)
            drafted = np.append(drafted, token)
            if not goes_on or len(drafted) - len(ids) == limit or token in self._ends:
                break
            logits = self._decoder.decode(np.array([token]), np.ones(1, np.bool_))[0]
        self._slot_ids = drafted[: int(cache.lengths[0])]
        proposed: list[int] = drafted[len(ids) :].tolist()
        return proposed[:-1] if proposed[-1] in self._ends else proposed

    def learn(self, proposed: int, accepted: int) -> None:
        self._pace.learn(proposed, accepted)

    def _return_to(self, ids: Ids) -> None:
        """Drop drafted tokens that were not accepted."""
        length = min(len(self._slot_ids), len(ids) - 1)
        differing = np.flatnonzero(self._slot_ids[:length] != ids[:length])
        length = int(differing[0]) if len(differing) else length
        if self._point is not None:
            self._decoder.cache.roll_back(self._point, length)
        self._slot_ids = self._slot_ids[:length]

    def _choose(self, ids: Ids, logits: Scores) -> tuple[int, bool]:
        """Return a token, and whether to draft another after it."""
        scores = logits[None]
        for chain in self._processors:
            scores = chain(ids[None], scores)
        token, margin = choose_with_margin(scores[0], len(ids), self._noise)
        goes_on = self._pace.goes_on(margin)
        if self._threshold > 0 and probabilities(scores[0])[token] < self._threshold:
            goes_on = False
        return token, goes_on


def _asked_threshold(config: GenerationConfig) -> float:
    """Return the threshold that a call or a config sets; 0 where it is the default."""
    name = "assistant_confidence_threshold"
    threshold = config.assistant_confidence_threshold
    is_asked = name in explicit_names(config) or threshold != DEFAULT_VALUES[name]
    return threshold if is_asked else 0.0
