"""Reads the prompts of a request into the staging slots, a chunk at a time.

decode() overwrites a row of every slot in its range that takes no part, so prompts are read into
slots behind that range. Their rows are copied to the request's own slots once they are complete.
"""

import numpy as np

from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.engine.decoder import Decoder, check_finite
from gptneo_onnx.runtime.scheduling.events import PromptEvent, TokenScore
from gptneo_onnx.runtime.scheduling.prompt_scores import token_scores
from gptneo_onnx.runtime.scheduling.request import Request

# A prompt, and the negative prompt of guidance.
STAGING_SLOTS = 2


class Prefill:
    """The prompts of one request, while they are read.

    Attributes:
        request: whose they are.
        slots: the slots that the request takes afterwards.
        is_done: whether all prompts are read.
    """

    def __init__(
        self, request: Request, slots: list[int], decoder: Decoder, staging: list[int]
    ) -> None:
        self.request = request
        self.slots = slots
        self.is_done = False
        self._decoder = decoder
        self._staging = staging
        self._prompt = 0  # the one that is being read
        self._read = 0  # its tokens that are read
        self._logits: list[Logits] = []  # of each prompt that is read, [vocab]
        self._scores: list[TokenScore | None] = [None]
        for slot in staging:
            decoder.cache.clear(slot)

    @property
    def next_chunk(self) -> int:
        """Tokens that the next step is to read: as many as generate() would."""
        remaining = len(self.request.prompts[self._prompt]) - self._read
        return self._decoder.next_chunk(self._read, remaining)

    def step(self, tokens: int) -> int:
        """Read a chunk of so many tokens, or what is left; return how many were read."""
        ids = self.request.prompts[self._prompt]
        slot = self._staging[self._prompt]
        remaining = len(ids) - self._read
        count = min(tokens, remaining)
        chunk = ids[self._read : self._read + count]
        is_last = count == remaining
        top = self.request.options.prompt_logprobs if self._prompt == 0 else None
        wants_last = is_last and self.request.call is not None
        first = 0 if top is not None else count - 1 if wants_last else count
        pooled = self.request.pooled
        layers = () if pooled is None else (pooled.layer,)
        logits = []
        for outputs in self._decoder.prefill_chunks(slot, chunk, first=first, layers=layers):
            logits.append(outputs.logits)
            if pooled is not None:
                pooled.add(outputs.hidden_states[0][0])
        if top is not None:
            self._score(np.concatenate(logits), top)
        self._read += count
        if is_last:
            self._end_prompt(logits[-1][-1] if wants_last else None)
        return count

    def _score(self, logits: Logits, top: int) -> None:
        """Score the tokens that follow those of a chunk, by its logits [length, vocab]."""
        following = self.request.prompts[0][self._read + 1 : self._read + 1 + len(logits)]
        self._scores += token_scores(logits[: len(following)], following, top)

    def _end_prompt(self, logits: Logits | None) -> None:
        """Go on with the next prompt, after one whose last token has these logits [vocab]."""
        if logits is not None:
            call = self.request.call
            assert call is not None
            if not call.config.remove_invalid_values:
                check_finite(logits[None])
            self._logits.append(logits)
        if self._prompt == 0 and self.request.options.prompt_logprobs is not None:
            self.request.send([PromptEvent(tuple(self._scores))])
        self._prompt += 1
        self._read = 0
        self.request.is_read = self.is_done = self._prompt == len(self.request.prompts)

    def hand_over(self) -> Logits:
        """Copy what was read to the request's slots; return the logits [slots, vocab] there."""
        cache = self._decoder.cache
        order = np.arange(cache.slots)
        streams = len(self.request.prompts)
        for index, slot in enumerate(self.slots):
            order[slot] = self._staging[index % streams]
        cache.reorder(order)
        return np.stack([self._logits[index % streams] for index in range(len(self.slots))])
