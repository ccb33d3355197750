"""The portable graph's cache: every step returns keys and values anew, with its tokens behind."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.runtime.engine.cache import Cache, RollbackPoint
from gptneo_onnx.runtime.engine.device import Device

# Keys and values of each layer, [batch, heads, columns, head_dim], on the device.
Rows = Sequence[onnxruntime.OrtValue]


class ConcatenatedCache(Cache):
    """Rows of each slot: on their own, or with others' in a batch that is padded on the left.

    No tensor is ever written to, so slots may share them.
    """

    def __init__(
        self,
        tensors: int,
        heads: int,
        head_dim: int,
        element: np.dtype[Any],
        slots: int,
        capacity: int,
        device: Device,
    ) -> None:
        super().__init__(slots, capacity)
        self.host_type = element
        self._tensors = tensors
        self._heads, self._head_dim = heads, head_dim
        self._device = device
        self._apart: dict[int, Rows] = {}
        # The first slots' rows in one batch, on its right; those in _apart are newer.
        self._batch: Rows = ()
        self._batch_slots, self._columns = 0, 0

    @property
    def nbytes(self) -> int:
        row = self._heads * self._head_dim * self.host_type.itemsize
        return self._tensors * self.slots * self.capacity * row

    def clear(self, slot: int) -> None:
        super().clear(slot)
        self._apart[slot] = self._on_device(self._nothing(1, 0))

    def rows(self, slot: int) -> Rows:
        """A slot's own tensors, [1, heads, length, head_dim]."""
        if slot not in self._apart:
            self._apart[slot] = self._on_device(self._host_rows(slot))
        return self._apart[slot]

    def put(self, slot: int, rows: Rows, length: int) -> None:
        """A slot's own tensors after a step."""
        self._apart[slot] = rows
        self.lengths[slot] = length

    def batch(self, held: NDArray[np.int64]) -> Rows:
        """The first slots' rows in one batch; of slot i the last held[i], behind padding."""
        count, columns = len(held), int(held.max())
        is_there = self._batch_slots == count and self._columns == columns
        if not is_there or any(slot in self._apart for slot in range(count)):
            rows = [self._host_rows(slot) if length else None for slot, length in enumerate(held)]
            self._keep_apart(count, self._batch_slots)
            joined = self._nothing(count, columns)
            for slot, own in enumerate(rows):
                if own is not None:
                    for whole, part in zip(joined, own, strict=True):
                        whole[slot, :, columns - held[slot] :] = part[0]
            self.put_batch(self._on_device(joined), count)
        return self._batch

    def put_batch(self, rows: Rows, count: int) -> None:
        """The first slots' rows after a step of all of them."""
        self._batch, self._batch_slots = rows, count
        self._columns = rows[0].shape()[2]
        for slot in range(count):
            self._apart.pop(slot, None)

    def reorder(self, order: NDArray[np.int64]) -> None:
        order = np.concatenate([order, np.arange(len(order), self.slots)])
        if (order == np.arange(self.slots)).all():
            return
        count = self._batch_slots
        if self._apart.keys() & set(range(count)) or set(order[:count]) - set(range(count)):
            self._keep_apart(0, count)
            self._batch, self._batch_slots = (), 0
        elif count:
            moved = [value.numpy()[order[:count]] for value in self._batch]
            self._batch = self._on_device(moved)
        taken = {int(old): rows for old, rows in self._apart.items()}
        self._apart = {slot: taken[int(old)] for slot, old in enumerate(order) if int(old) in taken}
        self.lengths[:] = self.lengths[order]

    def checkpoint(self, slot: int, tokens: int) -> RollbackPoint:
        return RollbackPoint(slot, int(self.lengths[slot]), tokens)

    def roll_back(self, checkpoint: RollbackPoint, length: int) -> None:
        self.check_roll_back(checkpoint, length)
        slot = checkpoint.slot
        if length < self.lengths[slot]:
            kept = [rows[:, :, :length] for rows in self._host_rows(slot)]
            self.put(slot, self._on_device(kept), length)

    def read(self, slot: int) -> list[NDArray[Any]]:
        return [rows[0].copy() for rows in self._host_rows(slot)]

    def write(self, slot: int, layers: Sequence[NDArray[Any]], length: int) -> None:
        self.put(slot, self._on_device([rows[None] for rows in layers]), length)

    def row_shapes(self, length: int) -> list[tuple[int, ...]]:
        return [(self._heads, length, self._head_dim)] * self._tensors

    def _host_rows(self, slot: int) -> list[NDArray[Any]]:
        """[1, heads, length, head_dim] of a slot; on a CPU views of its tensors."""
        if slot in self._apart:
            return [value.numpy() for value in self._apart[slot]]
        if slot >= self._batch_slots:
            return self._nothing(1, 0)
        start = self._columns - int(self.lengths[slot])
        return [value.numpy()[slot : slot + 1, :, start:] for value in self._batch]

    def _keep_apart(self, first: int, end: int) -> None:
        """Give those slots of the batch tensors of their own, before it goes."""
        for slot in range(first, end):
            self.rows(slot)

    def _nothing(self, count: int, columns: int) -> list[NDArray[Any]]:
        shape = (count, self._heads, columns, self._head_dim)
        return [np.zeros(shape, self.host_type) for _ in range(self._tensors)]

    def _on_device(self, rows: Sequence[NDArray[Any]]) -> Rows:
        return [
            onnxruntime.OrtValue.ortvalue_from_numpy(
                np.ascontiguousarray(each), self._device.type, self._device.index
            )
            for each in rows
        ]
