"""Ends single sequences of a request, while the others go on."""

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids, Scores


class StoppedSequences:
    """A stopping criterion that stops the sequences that it is told.

    A result whose stop text was found ends at the next step, while the others go on.
    """

    def __init__(self) -> None:
        self._rows: set[int] = set()

    def stop(self, sequence: int) -> None:
        """Stop a sequence; from any thread."""
        self._rows.add(sequence)

    def __call__(self, input_ids: Ids, scores: Scores) -> NDArray[np.bool_]:
        return np.array([row in self._rows for row in range(len(input_ids))])
