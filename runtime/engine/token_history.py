"""The cache of a graph without past: the tokens of each slot, which every step reads again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids, Indices
from gptneo_onnx.runtime.engine.cache import Cache, RollbackPoint


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

    def rollback_point(self, slot: int, tokens: int) -> RollbackPoint:
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

    def view_rows(self, slot: int, start: int, stop: int) -> list[NDArray[Any]]:
        return [array[slot, start:stop].reshape(1, -1, 1) for array in self._arrays]

    def row_shapes(self, length: int) -> list[tuple[int, ...]]:
        return [(1, length, 1)] * len(self._arrays)

    @property
    def _arrays(self) -> tuple[Ids, Ids]:
        return self.ids, self.positions
