"""The rows that a call generates together, each in a slot of the cache."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.engine.decoder import Decoder, check_finite
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.processors.guidance import guided_scores


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (Sanchez et al. 2023, arXiv:2306.17806).

    Attributes:
        scale: weight of the prompt against the negative prompt.
        prompts: the negative prompts, int64 [length] each.
    """

    scale: float
    prompts: Sequence[Ids]

    def guided(self, logits: Scores, unconditional: Scores) -> Scores:
        """transformers.UnbatchedClassifierFreeGuidanceLogitsProcessor on [rows, vocab]."""
        return guided_scores(logits, unconditional, self.scale)


class SlotBatch:
    """Rows in slots: `repeats` rows of each prompt, and with guidance as many of its negative one.

    Row r is in slot r. With guidance it is in slot 2 r, and its negative prompt in the slot after
    it. Every step returns (logits, scores), both float32 [rows, vocab]: the model's logits, and
    what guidance makes of them; they are valid until the next step.

    Every step raises ModelFileError if the logits of a row that it chooses by are not finite,
    unless `allow_invalid`.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompts: Sequence[Ids],
        *,
        repeats: int = 1,
        guidance: Guidance | None = None,
        saved: PromptCache | None = None,
        allow_invalid: bool = False,
    ) -> None:
        self.decoder = decoder
        self.repeats = repeats
        self.guidance = guidance
        self.rows = len(prompts) * repeats
        self._saved = saved or PromptCache()
        self._allow_invalid = allow_invalid
        self._streams = [prompts, guidance.prompts] if guidance else [prompts]

    def slot(self, row: int) -> int:
        """Return the slot that holds a row's sequence."""
        return row * len(self._streams)

    def prefill(self) -> tuple[Scores, Scores]:
        """Prefill every prompt once, however many rows it has."""
        start = time.perf_counter()
        spacing = self.repeats * len(self._streams)
        logits = np.stack(
            [
                [
                    self._saved.prefill(self.decoder, prompt * spacing + stream, ids)
                    for stream, ids in enumerate(streams)
                ]
                for prompt, streams in enumerate(zip(*self._streams, strict=True))
            ]
        )  # [prompts, streams, vocab]
        if not self._allow_invalid:
            check_finite(logits)
        if self.repeats > 1:
            self.reorder(np.arange(self.rows) // self.repeats * self.repeats)
        self.decoder.prefill_seconds += time.perf_counter() - start
        return self._scored(np.repeat(logits, self.repeats, axis=0))

    def decode(self, tokens: Ids, active: Mask) -> tuple[Scores, Scores]:
        """Append a token to each active row; the outputs of other rows mean nothing."""
        stepped = int(np.flatnonzero(active)[-1]) + 1  # rows after the last active one cost nothing
        streams = len(self._streams)
        slots = np.repeat(active[:stepped], streams)
        step_logits = self.decoder.decode(np.repeat(tokens[:stepped], streams), slots)
        if not self._allow_invalid:
            check_finite(step_logits, slots)
        logits, scores = self._scored(step_logits.reshape(stepped, streams, -1))
        return self._all_rows(logits), self._all_rows(scores)

    def verify(self, tokens: Ids) -> Scores:
        """Append tokens to the only row; return the logits [tokens, vocab] after each of them."""
        logits = self.decoder.verify(0, tokens)
        if not self._allow_invalid:
            check_finite(logits)
        return logits

    def reorder(self, order: Ids) -> None:
        """Give row i the sequence that row order[i] had."""
        streams = len(self._streams)
        slots = order[:, None] * streams + np.arange(streams)  # [rows, streams]
        self.decoder.cache.reorder(slots.ravel())

    def _scored(self, logits: Scores) -> tuple[Scores, Scores]:
        """Return (logits, scores) of logits [rows, streams, vocab]."""
        conditional = logits[:, 0]
        if self.guidance is None:
            return conditional, conditional
        return conditional, self.guidance.guided(conditional, logits[:, 1])

    def _all_rows(self, values: Scores) -> Scores:
        """Return [rows, vocab] of the first rows' values, zeros in the others."""
        missing = self.rows - len(values)
        return np.pad(values, ((0, missing), (0, 0))) if missing else values
