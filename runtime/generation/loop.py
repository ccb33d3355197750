"""The generation loop: from prompts to tokens, one step of all sequences at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.decoder import Decoder
from gptneo_onnx.runtime.generation.logits_process import LogitsProcessor
from gptneo_onnx.runtime.generation.sampling import sample

Ids = NDArray[np.int64]


@dataclass
class Sequence:
    """One sequence being generated.

    Attributes:
        ids: int64 [length], prompt and generated tokens.
        max_new_tokens: how many to generate at the most.
        processors: applied to the scores, in order.
        eos_token_ids: tokens that end it.
        generator: of the draws; None takes the likeliest token.
    """

    ids: Ids
    max_new_tokens: int
    processors: list[LogitsProcessor]
    eos_token_ids: tuple[int, ...]
    generator: np.random.Generator | None
    generated: list[int] = field(default_factory=list)
    is_finished: bool = False

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The next token, appended; logits [vocab] are left as they are."""
        scores = logits
        for processor in self.processors:
            scores = processor(self.ids, scores)
        token = int(scores.argmax()) if self.generator is None else sample(scores, self.generator)
        self.ids = np.append(self.ids, token)
        self.generated.append(token)
        self.is_finished = token in self.eos_token_ids or len(self.generated) >= self.max_new_tokens
        return token


def generate_steps(decoder: Decoder, sequences: list[Sequence]) -> Iterator[dict[int, int]]:
    """Generate until every sequence is finished; each step yields {index: its new token}.

    Sequence i lives in the decoder's slot i. The first step prefills, every other one decodes.
    """
    for slot in range(len(sequences)):
        decoder.cache.clear(slot)
    yield {
        slot: sequence.choose(decoder.prefill(slot, sequence.ids))
        for slot, sequence in enumerate(sequences)
    }
    while unfinished := [i for i, sequence in enumerate(sequences) if not sequence.is_finished]:
        # Slots are stepped from the first to the last unfinished one: a batch is contiguous.
        stepped = sequences[: unfinished[-1] + 1]
        tokens = np.array([sequence.ids[-1] for sequence in stepped])
        active = np.array([not sequence.is_finished for sequence in stepped])
        logits = decoder.decode(tokens, active)
        yield {slot: sequences[slot].choose(logits[slot]) for slot in unfinished}
