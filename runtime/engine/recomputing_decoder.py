"""Steps of a portable graph without past: every step reads each sequence from its beginning."""

from collections.abc import Iterator, Sequence

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Mask
from gptneo_onnx.runtime.engine.portable_decoder import (
    Outputs,
    PortableDecoder,
    PortableSessions,
    check_consecutive,
)
from gptneo_onnx.runtime.engine.token_history import TokenHistory


class RecomputingDecoder(PortableDecoder):
    """The steps of a portable graph without past."""

    cache: TokenHistory
    reads_whole_prompts = True

    def __init__(self, sessions: PortableSessions, cache: TokenHistory) -> None:
        super().__init__(sessions)
        self.cache = cache

    def _run_slot(self, slot: int, ids: Ids, positions: Ids, layers: Sequence[int]) -> Outputs:
        end = self.cache.put(slot, int(self.cache.lengths[slot]), ids, positions)
        before = self._padding(slot, end)
        all_ids, all_positions = (
            np.pad(array[slot, :end], (before, 0))[None]
            for array in (self.cache.ids, self.cache.positions)
        )
        mask = np.pad(self._slot_mask(end), ((0, 0), (before, 0)))
        return self._run(all_ids, all_positions, mask, layers, len(ids))

    def _check_positions(self, slot: int, positions: Ids) -> None:
        """Allow positions that count on from any number: see _padding()."""
        length = int(self.cache.lengths[slot])
        first = positions[0] - length
        if length:
            first = self.cache.positions[slot, 0]
        check_consecutive(positions, first + np.arange(length, length + len(positions)))

    def _padding(self, slot: int, end: int) -> int:
        """Return the columns of padding that give a slot's tokens their positions."""
        takes_positions = self.sessions.takes_positions or not end
        return 0 if takes_positions else int(self.cache.positions[slot, 0])

    def _run_batch(
        self, ids: Ids, positions: Ids, lengths: Ids, layers: Sequence[int] = ()
    ) -> Outputs:
        batch, count = ids.shape
        columns = int(lengths.max()) + count
        all_ids, all_positions = np.zeros((2, batch, columns), np.int64)  # padded on the left
        for slot, length in enumerate(lengths.tolist()):
            end = self.cache.put(slot, length, ids[slot], positions[slot])
            all_ids[slot, columns - end :] = self.cache.ids[slot, :end]
            all_positions[slot, columns - end :] = self.cache.positions[slot, :end]
        mask = np.arange(columns) >= columns - count - lengths[:, None]
        return self._run(all_ids, all_positions, mask, layers, count)

    def _run(
        self, ids: Ids, positions: Ids, mask: Mask, layers: Sequence[int], count: int
    ) -> Outputs:
        """Run sequences [batch, columns]; return the outputs of their last `count` columns."""
        (logits, states), _ = self.sessions.run(ids, positions, mask, (), layers)
        return logits[:, -count:], [state[:, -count:] for state in states]

    def _cuts(self, length: int, count: int) -> Iterator[slice]:
        """Read everything in one step: chunks would each read all that comes before them."""
        yield slice(0, count)
