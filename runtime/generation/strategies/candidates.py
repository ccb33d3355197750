"""Where assisted decoding gets its candidates: from a draft model, or from the text itself."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gptneo_onnx.runtime.engine.cache import RollbackPoint
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.noise import TokenNoise
from gptneo_onnx.runtime.generation.processors.base import (
    Ids,
    LogitsProcessorList,
    Scores,
    probabilities,
)
from gptneo_onnx.runtime.generation.strategies.sequences import choose

_LONGEST_PAUSE = 16


class Candidates(Protocol):
    """Guesses how a sequence goes on."""

    def propose(self, ids: Ids, most: int) -> list[int]:
        """At most so many tokens that may follow ids [length]; none is a good answer too."""

    def learn(self, proposed: int, accepted: int) -> None:
        """What became of the last proposal."""


class AdaptiveLength:
    """How many candidates are worth trying, by what became of the last ones.

    A step of several tokens costs more than one of a single token: where guesses fail, they become
    rare, so that text they do not help is not slowed down noticeably.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._length = most
        self._failures = 0
        self._pause = 0

    def next_length(self) -> int:
        """For this round; 0 while it is not worth trying."""
        if self._pause:
            self._pause -= 1
            return 0
        return self._length

    def learn(self, proposed: int, accepted: int) -> None:
        if proposed == 0:
            return
        if accepted == proposed:
            self._length = min(self.most, max(self._length, 2 * proposed))
        else:
            self._length = min(self.most, accepted + 2)
        self._failures = self._failures + 1 if accepted == 0 else 0
        self._pause = min(2**self._failures - 1, _LONGEST_PAUSE)


class PromptLookup:
    """The text itself: what followed when its last few tokens stood there before.

    Prompt lookup decoding (Saxena 2023; transformers.PromptLookupCandidateGenerator). The latest
    occurrence of the longest run counts; a continuation that reaches the end of the text goes on
    with itself, as repetitions do.
    """

    def __init__(self, config: GenerationConfig) -> None:
        self._longest = config.max_matching_ngram_size or 2
        self._ends = set(config.eos_token_ids)
        self._adaptive = AdaptiveLength(config.prompt_lookup_num_tokens or 10)
        self._following: dict[tuple[int, ...], int] = {}  # a run -> where its continuation starts
        self._seen = 0

    def propose(self, ids: Ids, most: int) -> list[int]:
        text = ids.tolist()
        self._index(text)
        most = min(most, self._adaptive.next_length())
        if most < 1:
            return []
        for length in range(min(self._longest, len(text) - 1), 0, -1):
            start = self._following.get(tuple(text[-length:]))
            if start is not None:
                return self._continuation(text, start, most)
        return []

    def learn(self, proposed: int, accepted: int) -> None:
        self._adaptive.learn(proposed, accepted)

    def _index(self, text: list[int]) -> None:
        """Every run that has a continuation: those that end before the last token."""
        for end in range(max(1, self._seen), len(text)):
            for length in range(1, min(self._longest, end) + 1):
                self._following[tuple(text[end - length : end])] = end
        self._seen = len(text)

    def _continuation(self, text: list[int], start: int, most: int) -> list[int]:
        known = len(text)
        for index in range(start, start + most):
            if text[index] in self._ends:  # accepted or not, an end token is no gain
                break
            text.append(text[index])
        return text[known:]


class DraftModel:
    """A smaller model of the same vocabulary (Leviathan et al. 2023, arXiv:2211.17192).

    It chooses as the large model does, by the same processors and the same noise, which makes the
    two agree as often as two independent choosers can.
    """

    def __init__(
        self,
        decoder: Decoder,
        config: GenerationConfig,
        processors: Sequence[LogitsProcessorList],
        noise: TokenNoise | None,
    ) -> None:
        self._decoder = decoder
        self._processors = processors
        self._noise = noise
        self._ends = set(config.eos_token_ids)
        self._threshold = config.assistant_confidence_threshold
        self._adaptive = AdaptiveLength(config.num_assistant_tokens)
        self._held = np.empty(0, np.int64)  # the tokens in the slot
        self._checkpoint: RollbackPoint | None = None
        decoder.cache.clear(0)

    def propose(self, ids: Ids, most: int) -> list[int]:
        cache = self._decoder.cache
        room = cache.capacity - len(ids)
        window = cache.window or most
        most = min(most, self._adaptive.next_length(), room, window)
        if most < 1:
            return []
        self._return_to(ids)
        logits = self._decoder.prefill(0, ids[len(self._held) :])
        self._checkpoint = cache.checkpoint(0, most)
        drafted = ids
        while True:
            token, likelihood = self._choose(drafted, logits)
            drafted = np.append(drafted, token)
            count = len(drafted) - len(ids)
            if count == most or token in self._ends or likelihood < self._threshold:
                break
            logits = self._decoder.decode(np.array([token]), np.ones(1, np.bool_))[0]
        self._held = drafted[: int(cache.lengths[0])]
        proposed: list[int] = drafted[len(ids) :].tolist()
        return proposed[:-1] if proposed[-1] in self._ends else proposed

    def learn(self, proposed: int, accepted: int) -> None:
        self._adaptive.learn(proposed, accepted)

    def _return_to(self, ids: Ids) -> None:
        """Drop drafted tokens that the text did not take."""
        length = min(len(self._held), len(ids) - 1)
        differing = np.flatnonzero(self._held[:length] != ids[:length])
        length = int(differing[0]) if len(differing) else length
        if self._checkpoint is not None:
            self._decoder.cache.roll_back(self._checkpoint, length)
        self._held = self._held[:length]

    def _choose(self, ids: Ids, logits: Scores) -> tuple[int, float]:
        """A token, and how likely the draft model thinks it."""
        scores = logits[None]
        for chain in self._processors:
            scores = chain(ids[None], scores)
        token = choose(scores[0], len(ids), self._noise)
        return token, float(probabilities(scores[0])[token])
