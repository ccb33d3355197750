"""The portable graph's cache: every step returns all keys and values, its tokens' at the end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Indices
from gptneo_onnx.runtime.engine.cache import Cache, RollbackPoint
from gptneo_onnx.runtime.engine.device import Device

# Keys and values of each layer, [batch, heads, columns, head_dim], on the device.
Rows = Sequence[onnxruntime.OrtValue]


class ConcatenatedCache(Cache):
    """Rows of each slot, in separate tensors or in a batch that is padded on the left.

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
        self._separate: dict[int, Rows] = {}
        # Rows of the first _batch_slots slots in one batch, padded on the left. A slot that is in
        # _separate too is out of date here.
        self._batch: Rows = ()
        self._batch_slots, self._columns = 0, 0

    @property
    def nbytes(self) -> int:
        row = self._heads * self._head_dim * self.host_type.itemsize
        return self._tensors * self.slots * self.capacity * row

    def clear(self, slot: int) -> None:
        super().clear(slot)
        self._separate[slot] = self._on_device(self._zeros(1, 0))

    def rows(self, slot: int) -> Rows:
        """Return a slot's separate tensors, [1, heads, length, head_dim]."""
        if slot not in self._separate:
            self._separate[slot] = self._on_device(self._host_rows(slot))
        return self._separate[slot]

    def put(self, slot: int, rows: Rows) -> None:
        """Take a slot's separate tensors after a step."""
        self._separate[slot] = rows

    def batch(self, lengths: Indices) -> Rows:
        """Return the first slots' rows in one batch: the last lengths[i] of slot i, left-padded."""
        count, columns = len(lengths), int(lengths.max())
        is_current = self._batch_slots == count and self._columns == columns
        if not is_current or any(slot in self._separate for slot in range(count)):
            batch = self._zeros(count, columns)
            for slot in np.flatnonzero(lengths).tolist():
                rows = self._host_rows(slot)
                for target, source in zip(batch, rows, strict=True):
                    target[slot, :, columns - lengths[slot] :] = source[0]
            self._separate_slots(count, self._batch_slots)
            self.put_batch(self._on_device(batch), count)
        return self._batch

    def put_batch(self, rows: Rows, count: int) -> None:
        """Take the first slots' rows after a step of all of them."""
        self._batch, self._batch_slots = rows, count
        self._columns = rows[0].shape()[2]
        for slot in range(count):
            self._separate.pop(slot, None)

    def reorder(self, order: Indices) -> None:
        order = np.concatenate([order, np.arange(len(order), self.slots)])
        if (order == np.arange(self.slots)).all():
            return
        count = self._batch_slots
        if self._separate.keys() & set(range(count)) or set(order[:count]) - set(range(count)):
            self._separate_slots(0, count)
            self._batch, self._batch_slots = (), 0
        elif count:
            moved = [value.numpy()[order[:count]] for value in self._batch]
            self._batch = self._on_device(moved)
        separate = self._separate
        self._separate = {
            slot: separate[source]
            for slot, source in enumerate(order.tolist())
            if source in separate
        }
        self.lengths[:] = self.lengths[order]

    def rollback_point(self, slot: int, tokens: int) -> RollbackPoint:
        return RollbackPoint(slot, int(self.lengths[slot]), tokens)

    def roll_back(self, point: RollbackPoint, length: int) -> None:
        self.check_roll_back(point, length)
        slot = point.slot
        if length < self.lengths[slot]:
            remaining = [rows[:, :, :length] for rows in self._host_rows(slot)]
            self.put(slot, self._on_device(remaining))
            self.lengths[slot] = length

    def read(self, slot: int) -> list[NDArray[Any]]:
        return [rows[0].copy() for rows in self._host_rows(slot)]

    def write(self, slot: int, layers: Sequence[NDArray[Any]], length: int) -> None:
        self.put(slot, self._on_device([rows[None] for rows in layers]))
        self.lengths[slot] = length

    def view_rows(self, slot: int, start: int, stop: int) -> list[NDArray[Any]]:
        return [rows[0, :, start:stop] for rows in self._host_rows(slot)]

    def row_shapes(self, length: int) -> list[tuple[int, ...]]:
        return [(self._heads, length, self._head_dim)] * self._tensors

    def _host_rows(self, slot: int) -> list[NDArray[Any]]:
        """Return a slot's rows [1, heads, length, head_dim]; on a CPU as views of its tensors."""
        if slot in self._separate:
            return [value.numpy() for value in self._separate[slot]]
        if slot >= self._batch_slots:
            return self._zeros(1, 0)
        start = self._columns - int(self.lengths[slot])
        return [value.numpy()[slot : slot + 1, :, start:] for value in self._batch]

    def _separate_slots(self, first: int, end: int) -> None:
        """Give slots first to end - 1 separate tensors, before their batch is dropped."""
        for slot in range(first, end):
            self.rows(slot)

    def _zeros(self, count: int, columns: int) -> list[NDArray[Any]]:
        shape = (count, self._heads, columns, self._head_dim)
        return [np.zeros(shape, self.host_type) for _ in range(self._tensors)]

    def _on_device(self, rows: Sequence[NDArray[Any]]) -> Rows:
        # Copies: a view of a tensor that ONNX Runtime made does not keep the tensor's memory.
        return [
            onnxruntime.OrtValue.ortvalue_from_numpy(
                np.array(each, order="C"), self._device.type, self._device.index
            )
            for each in rows
        ]
