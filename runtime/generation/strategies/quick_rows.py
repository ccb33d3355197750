"""Greedy decoding and sampling where nobody looks at the scores: no more of them is computed."""

from collections.abc import Sequence

from gptneo_onnx.runtime.arrays import Scores
from gptneo_onnx.runtime.generation.strategies.hooks import CallerHooks
from gptneo_onnx.runtime.generation.strategies.quick_draw import QuickDraw
from gptneo_onnx.runtime.generation.strategies.sample import SampledRows
from gptneo_onnx.runtime.generation.strategies.sequences import GrowingSequence


class QuickRows:
    """Sequences that take one token each at every step: those that SampledRows would give them.

    A caller's processors and criteria see all scores; with them, every row is computed in full.
    """

    def __init__(self, sequences: Sequence[GrowingSequence], hooks: CallerHooks) -> None:
        self._sequences = sequences
        has_hooks = bool(hooks.processors or hooks.criteria)
        self._full = SampledRows(sequences, hooks) if has_hooks else None
        self._draws = [QuickDraw.of(each.warpers, each.noise) for each in sequences]

    def advance(self, scores: Scores) -> list[tuple[int, int]]:
        """Choose and append a token of every unfinished row; return (row, token) of each.

        Args:
            scores: float32 [rows, vocab], the model's logits, or what guidance makes of them.
        """
        if self._full is not None:
            return [(each.row, each.token) for each in self._full.advance(scores, scores)]
        return [
            (row, self._advance_row(row, scores[row : row + 1]))
            for row, sequence in enumerate(self._sequences)
            if not sequence.is_finished
        ]

    def _advance_row(self, row: int, scores: Scores) -> int:
        """Choose and append a row's token by its scores [1, vocab]."""
        sequence, draw = self._sequences[row], self._draws[row]
        if sequence.processors:
            scores = sequence.processors(sequence.ids, scores)
        token = None if draw is None else draw(scores[0], sequence.ids.shape[1])
        if token is None:
            token = sequence.choose(sequence.warpers(sequence.ids, scores)[0])
        sequence.append(token)
        if sequence.criteria and sequence.criteria(sequence.ids, scores)[0]:
            sequence.is_stopped = sequence.is_finished = True
        return token
