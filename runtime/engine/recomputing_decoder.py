"""Steps of a portable graph without past: every step reads each sequence from its beginning."""

from collections.abc import Iterator, Sequence

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Mask
from gptneo_onnx.runtime.engine.portable_decoder import Outputs, PortableDecoder, PortableSessions
from gptneo_onnx.runtime.engine.token_history import TokenHistory


class RecomputingDecoder(PortableDecoder):
    """The steps of a portable graph without past."""

    cache: TokenHistory

    def __init__(self, sessions: PortableSessions, cache: TokenHistory) -> None:
        super().__init__(sessions)
        self.cache = cache

    def _run_slot(self, slot: int, ids: Ids, positions: Ids, layers: Sequence[int]) -> Outputs:
        end = self.cache.put(slot, int(self.cache.lengths[slot]), ids, positions)
        whole = slice(slot, slot + 1), slice(0, end)
        mask = self._slot_mask(end)
        return self._run(self.cache.ids[whole], self.cache.positions[whole], mask, layers, len(ids))

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
