"""Steps of a portable graph without past: every step reads each sequence from its beginning."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids, Indices, Mask
from gptneo_onnx.runtime.engine.cache import Cache, RollbackPoint
from gptneo_onnx.runtime.engine.portable_decoder import Outputs, PortableDecoder, PortableSessions


class TokenHistory(Cache):
    """The tokens of each slot, with their positions: all that a graph without past needs.

    Attributes:
        ids, positions: int64 [slots, capacity].
    """

    host_type = np.dtype(np.int64)

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__(slots, capacity)
        self.ids: Ids = np.zeros((slots, capacity), np.int64)
        self.positions: Ids = np.zeros((slots, capacity), np.int64)

    @property
    def nbytes(self) -> int:
        return self.ids.nbytes + self.positions.nbytes

    def put(self, slot: int, start: int, ids: Ids, positions: Ids) -> int:
        """Write tokens after the slot's first `start` ones; return how many there are then."""
        end = start + len(ids)
        self.ids[slot, start:end] = ids
        self.positions[slot, start:end] = positions
        return end

    def reorder(self, order: Indices) -> None:
        order = np.concatenate([order, np.arange(len(order), self.slots)])
        for array in (self.ids, self.positions, self.lengths):
            array[:] = array[order]

    def checkpoint(self, slot: int, tokens: int) -> RollbackPoint:
        return RollbackPoint(slot, int(self.lengths[slot]), tokens)

    def roll_back(self, point: RollbackPoint, length: int) -> None:
        self.check_roll_back(point, length)
        self.lengths[point.slot] = length

    def read(self, slot: int) -> list[NDArray[Any]]:
        length = int(self.lengths[slot])
        return [array[slot, :length].reshape(1, -1, 1).copy() for array in self._arrays]

    def write(self, slot: int, layers: Sequence[NDArray[Any]], length: int) -> None:
        for array, rows in zip(self._arrays, layers, strict=True):
            array[slot, :length] = rows.ravel()
        self.lengths[slot] = length

    def row_shapes(self, length: int) -> list[tuple[int, ...]]:
        return [(1, length, 1)] * len(self._arrays)

    @property
    def _arrays(self) -> tuple[Ids, Ids]:
        return self.ids, self.positions


class RecomputingDecoder(PortableDecoder):
    """The steps of a portable graph without past."""

    cache: TokenHistory

    def __init__(self, sessions: PortableSessions, cache: TokenHistory) -> None:
        super().__init__(sessions)
        self.cache = cache

    def _run_slot(self, slot: int, ids: Ids, positions: Ids, layers: Sequence[int]) -> Outputs:
        end = self.cache.put(slot, int(self.cache.lengths[slot]), ids, positions)
        whole = slice(slot, slot + 1), slice(0, end)
        mask = np.ones((1, end), np.bool_)
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
