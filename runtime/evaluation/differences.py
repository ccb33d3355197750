"""The places in the texts where two models' predictions differ most, with the text around them."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.evaluation.divergence import likeliest
from gptneo_onnx.runtime.evaluation.document_windows import DocumentWindow
from gptneo_onnx.runtime.tokenizer import Tokenizer

# Tokens of preceding text, and of each model's choices, that a difference shows.
_BEFORE, _CHOICES = 24, 3

# Tokens as text with their probabilities, the likeliest first.
Choices = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Difference:
    """A place where the models predict different tokens.

    Attributes:
        source, token: the document, and the token's number in it, from 0.
        before: the text before the token.
        actual: the token in the text.
        divergence: in nats.
        choices: each model's likeliest tokens and their probabilities.
    """

    source: str
    token: int
    before: str
    actual: str
    divergence: float
    choices: tuple[Choices, Choices]


class LargestDifferences:
    """Keeps the largest differences so far; of equal ones, those read first."""

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        self._tokenizer = tokenizer
        self._count = count
        # (divergence, minus the number of the push, difference): the smallest is on top.
        self._heap: list[tuple[float, int, Difference]] = []
        self._pushed = 0

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The differences kept, the largest first."""
        return tuple(difference for *_, difference in sorted(self._heap, reverse=True))

    def add(
        self,
        placed: DocumentWindow,
        targets: slice,
        divergences: NDArray[np.float64],
        logits: tuple[Logits, Logits],
    ) -> None:
        """Keep those of some targets that are large enough.

        Args:
            placed: the window.
            targets: which of its targets.
            divergences: float64 [targets].
            logits: each model's, [targets, vocab].
        """
        for row in np.argsort(-divergences, kind="stable")[: self._count].tolist():
            divergence = float(divergences[row])
            if divergence <= (self._heap[0][0] if len(self._heap) == self._count else 0):
                return
            self._pushed += 1
            row_logits = logits[0][row], logits[1][row]
            difference = self._describe(placed, targets.start + row, divergence, row_logits)
            heapq.heappush(self._heap, (divergence, -self._pushed, difference))
            if len(self._heap) > self._count:
                heapq.heappop(self._heap)

    def _describe(
        self,
        placed: DocumentWindow,
        target: int,
        divergence: float,
        logits: tuple[Logits, Logits],
    ) -> Difference:
        window = placed.window
        preceding = np.concatenate([window.context, window.targets[:target]])[-_BEFORE:]
        return Difference(
            source=placed.source,
            token=placed.start + target,
            before=self._decoded(preceding, skip_special_tokens=True),
            actual=self._decoded(int(window.targets[target])),
            divergence=divergence,
            choices=(self._choices(logits[0]), self._choices(logits[1])),
        )

    def _decoded(self, ids: int | NDArray[np.int64], skip_special_tokens: bool = False) -> str:
        """Return the text of ids as it is: a space more or less is a difference."""
        return self._tokenizer.decode(ids, skip_special_tokens, clean_up_tokenization_spaces=False)

    def _choices(self, logits: Logits) -> Choices:
        """The likeliest tokens by logits [vocab]."""
        return tuple(
            (self._decoded(token), probability)
            for token, probability in likeliest(logits, _CHOICES)
        )
