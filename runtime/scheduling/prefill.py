"""Reads the prompts of a request into the staging slots, a chunk at a time.

decode() overwrites a row of every slot in its range that takes no part, so prompts are read into
slots after that range. Their rows are copied to the request's own slots once they are complete.
"""

from collections.abc import Sequence

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.engine.decoder import Decoder, StepOutputs, check_finite
from gptneo_onnx.runtime.scheduling.events import PromptEvent, TokenScore
from gptneo_onnx.runtime.scheduling.prefix_store import PrefixPath, PrefixStore
from gptneo_onnx.runtime.scheduling.prompt_cuts import PromptCuts
from gptneo_onnx.runtime.scheduling.prompt_scores import token_scores
from gptneo_onnx.runtime.scheduling.request import Request


class Prefill:
    """The prompts of one request, while they are read.

    Attributes:
        request: whose they are.
        slots: the slots that the request takes afterwards.
        is_done: whether all prompts are read.
    """

    def __init__(
        self,
        request: Request,
        slots: list[int],
        decoder: Decoder,
        staging: list[int],
        cuts: PromptCuts,
        prefixes: PrefixStore | None = None,
    ) -> None:
        """Begin to read.

        Args:
            request: whose prompts are read.
            slots: the slots that the request takes afterwards.
            decoder: reads them.
            staging: the slots that they are read into.
            cuts: where they may be cut.
            prefixes: what is known of earlier prompts; None where nothing is kept.
        """
        self.request = request
        self.slots = slots
        self.is_done = False
        self._decoder = decoder
        self._staging = staging
        self._cuts = cuts
        self._prefixes = None if request.pooled is not None else prefixes
        self._path: PrefixPath | None = None
        self._prompt = 0  # the one that is being read
        self._read = 0  # its tokens that are read
        self._logits: list[Logits] = []  # of each prompt that is read, [vocab]
        self._scores: list[TokenScore | None] = [None]
        for slot in staging:
            decoder.cache.clear(slot)
        self._has_begun = False

    def chunks(self) -> list[int]:
        """Return how many tokens the next step may read, in ascending order; at least one number.

        What is known of the prompt is taken over first.
        """
        if not self._has_begun:
            self._begin_prompt()
        chunks = self._cuts.chunks(self._read, len(self.request.prompts[self._prompt]))
        window = self._decoder.cache.window
        if self._path is None or window is None:
            return chunks
        # After a longer step, windows have dropped some of the rows that are to be stored.
        return [count for count in chunks if count <= window] or chunks[:1]

    def step(self, count: int) -> None:
        """Read a chunk of one of the lengths that chunks() returned."""
        ids = self.request.prompts[self._prompt]
        slot = self._staging[self._prompt]
        chunk = ids[self._read : self._read + count]
        is_last = self._read + count == len(ids)
        wants_last = is_last and self.request.call is not None
        first = 0 if self._wants_scores else count - 1 if wants_last else count
        pooled = self.request.pooled
        layers = () if pooled is None else (pooled.layer,)
        outputs = self._outputs(slot, chunk, first, layers)
        if pooled is not None:
            pooled.add(outputs.hidden_states[0][0])
        if self._wants_scores:
            self._score(outputs.logits)
        self._read += count
        if self._path is not None:
            self._path.extend(self._decoder.cache, slot)
        if is_last:
            self._end_prompt(outputs.logits[-1] if wants_last else None)

    def _outputs(self, slot: int, ids: Ids, first: int, layers: Sequence[int]) -> StepOutputs:
        """Read the ids of a chunk; see Decoder.prefill_chunks."""
        decoder, usual = self._decoder, self._decoder.prefill_chunk
        decoder.prefill_chunk = self._cuts.chunk
        try:
            [outputs] = decoder.prefill_chunks(slot, ids, first=first, layers=layers)
        finally:
            decoder.prefill_chunk = usual
        return outputs

    @property
    def _wants_scores(self) -> bool:
        return self._prompt == 0 and self.request.options.prompt_logprobs is not None

    def _begin_prompt(self) -> None:
        """Find out what is known of the next prompt, and take it over."""
        self._has_begun = True
        if self._prefixes is None:
            return
        ids, slot = self.request.prompts[self._prompt], self._staging[self._prompt]
        self._path = self._prefixes.begin(ids)
        if self._wants_scores:  # by the logits of all its tokens
            return
        reused = self._cuts.reusable(self._path.known, len(ids))
        self._prefixes.count(len(ids), reused)
        if reused:
            self._path.restore(self._decoder.cache, slot, reused)
            self._read = reused
        if self._prompt == 0:
            self.request.statistics.cached_tokens = reused

    def _score(self, logits: Logits) -> None:
        """Score the tokens that follow those of a chunk, by its logits [length, vocab]."""
        top = self.request.options.prompt_logprobs
        assert top is not None
        check_finite(logits)
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
        if self._wants_scores:
            self.request.send([PromptEvent(tuple(self._scores))])
        self.close()
        self._prompt += 1
        self._read = 0
        self._has_begun = False
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

    def close(self) -> None:
        """Let what is known of the prompt go when memory is short; for whoever stops reading."""
        if self._path is not None:
            self._path.close()
            self._path = None
