"""The rows that a call generates together, each in a slot of the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.processors.base import Ids, Scores, log_probabilities


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
        free = log_probabilities(unconditional)
        return np.float32(self.scale) * (log_probabilities(logits) - free) + free


class SlotBatch:
    """Rows in slots: `repeats` rows of each prompt, and with guidance as many of its negative one.

    Row r is in slot r, or with guidance in slot 2 r, and its negative prompt in the slot behind it.
    Every step returns (logits, scores), both float32 [rows, vocab]: what the model said, and what
    guidance made of it; valid until the next step.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompts: Sequence[Ids],
        repeats: int = 1,
        guidance: Guidance | None = None,
        saved: PromptCache | None = None,
    ) -> None:
        self.decoder = decoder
        self.repeats = repeats
        self.guidance = guidance
        self.rows = len(prompts) * repeats
        self._saved = saved or PromptCache()
        negative = guidance.prompts if guidance else []
        self._streams = [prompts, negative] if guidance else [prompts]

    def slot(self, row: int) -> int:
        """Where a row's own sequence is."""
        return row * len(self._streams)

    def prefill(self) -> tuple[Scores, Scores]:
        """Every prompt once, whatever its repeats."""
        spacing = self.repeats * len(self._streams)
        first = np.stack(
            [
                [
                    self._saved.prefill(self.decoder, prompt * spacing + stream, ids)
                    for stream, ids in enumerate(streams)
                ]
                for prompt, streams in enumerate(zip(*self._streams, strict=True))
            ]
        )  # [prompts, streams, vocab]
        if self.repeats > 1:
            self.reorder(np.arange(self.rows) // self.repeats * self.repeats)
        return self._scored(np.repeat(first, self.repeats, axis=0))

    def decode(self, tokens: Ids, active: NDArray[np.bool_]) -> tuple[Scores, Scores]:
        """One more token of each row up to the last active one."""
        stepped = int(np.flatnonzero(active)[-1]) + 1
        streams = len(self._streams)
        logits = self.decoder.decode(
            np.repeat(tokens[:stepped], streams), np.repeat(active[:stepped], streams)
        )
        return self._scored(logits.reshape(stepped, streams, -1))

    def reorder(self, order: Ids) -> None:
        """Row i takes the sequence that row order[i] had."""
        streams = len(self._streams)
        slots = order[:, None] * streams + np.arange(streams)  # [rows, streams]
        self.decoder.cache.reorder(slots.ravel())

    def _scored(self, logits: Scores) -> tuple[Scores, Scores]:
        """From [rows, streams, vocab]."""
        own = logits[:, 0]
        return own, self.guidance.guided(own, logits[:, 1]) if self.guidance else own
