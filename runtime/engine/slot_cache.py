"""The fused graph's cache: keys and values of several sequences, updated in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import BATCH, CAPACITY, GraphContract, TensorSpec
from gptneo_onnx.runtime.arrays import Indices
from gptneo_onnx.runtime.engine.buffers import DeviceBuffer
from gptneo_onnx.runtime.engine.cache import Cache, RollbackPoint
from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.engine.row_copies import row_copier


@dataclass(frozen=True)
class _LayerBuffer:
    """One layer's keys or values; a local layer keeps `window` rows of each slot."""

    past: str
    present: str
    buffer: DeviceBuffer
    window: int | None

    def resident(self, length: int) -> int:
        """Return how many rows of a sequence of that length the buffer holds: its last ones."""
        return length if self.window is None else min(length, self.window)


class SlotCache(Cache):
    """A buffer [slots, heads, capacity, head_dim] for each layer's keys and each layer's values.

    A slot holds one sequence. Global layers keep every position up to `capacity`; local layers keep
    the last `window` positions, however long the sequence is.
    """

    def __init__(self, contract: GraphContract, slots: int, capacity: int, device: Device) -> None:
        super().__init__(slots, capacity)
        self._buffers = [
            _LayerBuffer(past.name, present.name, self._allocate(past, device), _window(past))
            for cache in contract.caches
            for past, present in zip(cache.past, cache.present, strict=True)
        ]
        self._windows = [buffer for buffer in self._buffers if buffer.window is not None]
        windows = [buffer.window for buffer in self._buffers if buffer.window is not None]
        self.window = min(windows, default=None)
        self.host_type = self._buffers[0].buffer.host_type
        self._copier = row_copier(device, self.host_type)

    @property
    def nbytes(self) -> int:
        return sum(each.buffer.nbytes for each in self._buffers)

    def bind(self, binding: onnxruntime.IOBinding, first: int, count: int) -> None:
        """Bind `count` slots from `first` on as past and as present: the same memory for both.

        Raises:
            InputError: the slots do not exist; memory is bound by address, so ONNX Runtime
                would not notice.
        """
        if not 0 <= first < first + count <= self.slots:
            raise InputError(
                f"slots {first} to {first + count - 1} were asked for; 0 to {self.slots - 1} exist"
            )
        for each in self._buffers:
            each.buffer.bind_input(binding, each.past, first, count)
            each.buffer.bind_output(binding, each.present, first, count)

    def reorder(self, order: Indices) -> None:
        """Give slot i the sequence that slot order[i] had, by copies on the device itself."""
        order = np.concatenate([order, np.arange(len(order), self.slots)])
        sources = order[order != np.arange(self.slots)]
        if len(sources) == 0:
            return
        longest = int(self.lengths[sources].max())
        for each in self._buffers:
            self._copier.reorder(each.buffer, order, each.resident(longest))
        self.lengths[:] = self.lengths[order]

    def rollback_point(self, slot: int, tokens: int) -> RollbackPoint:
        """Return a point with copies of the rows that `tokens` tokens push out of the windows.

        Raises:
            InputError: a window has fewer rows than that: the tokens would push out each other.
        """
        length = int(self.lengths[slot])
        if self.window is not None and tokens > self.window:
            raise InputError(
                f"{tokens} tokens push each other out of windows of {self.window}; "
                f"at most {self.window} can be taken back"
            )
        evicted = tuple(
            self._copier.read(each.buffer, slot, 0, _evicted(each, length, length + tokens))
            for each in self._windows
        )
        return RollbackPoint(slot, length, tokens, evicted)

    def roll_back(self, point: RollbackPoint, length: int) -> None:
        """Drop the tokens after `length`; windows get back the rows that they had then.

        Say a window has 4 rows, the point is at 6 tokens, and 3 more followed. The window held
        rows 2 to 5 and holds 5 to 8 now; the point has copies of 2, 3 and 4. To go back to 7
        tokens is to hold 3 to 6: the copies of 3 and 4 return to its start, and its first two
        rows, 5 and 6, move up after them.
        """
        self.check_roll_back(point, length)
        slot, now = point.slot, int(self.lengths[point.slot])
        for each, evicted in zip(self._windows, point.evicted, strict=True):
            returning = _evicted(each, length, now)
            if returning:
                first = _evicted(each, point.length, length)
                part = slice(first, first + returning)
                remaining = each.resident(length) - returning
                self._copier.put(each.buffer, slot, evicted, part, remaining)
        self.lengths[slot] = length

    def first_rows(self, slot: int) -> list[Any]:
        """Return copies of a slot's first row in each buffer: all that a step beside it changes."""
        return [self._copier.read(each.buffer, slot, 0, 1) for each in self._buffers]

    def put_first_rows(self, slot: int, rows: Sequence[Any]) -> None:
        """Put what first_rows() returned back."""
        for each, row in zip(self._buffers, rows, strict=True):
            self._copier.put(each.buffer, slot, row, slice(None), keep=0)

    def read(self, slot: int) -> list[NDArray[Any]]:
        length = int(self.lengths[slot])
        return [
            self._copier.to_host(self._copier.read(each.buffer, slot, 0, each.resident(length)))
            for each in self._buffers
        ]

    def write(self, slot: int, layers: Sequence[NDArray[Any]], length: int) -> None:
        for each, rows in zip(self._buffers, layers, strict=True):
            self._copier.put(each.buffer, slot, rows, slice(None), keep=0)
        self.lengths[slot] = length

    def view_rows(self, slot: int, start: int, stop: int) -> list[NDArray[Any]]:
        length = int(self.lengths[slot])
        views = []
        for each in self._buffers:
            first = length - each.resident(length)  # the token of the buffer's first row
            views.append(self._copier.view(each.buffer, slot, start - first, stop - first))
        return views

    def restore(self, slot: int, blocks: Sequence[NDArray[Any]], length: int) -> None:
        for layer, each in enumerate(self._buffers):
            missing = length - each.resident(length)
            parts = []
            for block in blocks:
                skipped = min(missing, block.shape[2])
                missing -= skipped
                if skipped < block.shape[2]:
                    parts.append(block[layer, :, skipped:])
            self._copier.put_parts(each.buffer, slot, parts)
        self.lengths[slot] = length

    def row_shapes(self, length: int) -> list[tuple[int, ...]]:
        return [
            (each.buffer.shape[1], each.resident(length), each.buffer.shape[3])
            for each in self._buffers
        ]

    def _allocate(self, spec: TensorSpec, device: Device) -> DeviceBuffer:
        sizes = {BATCH: self.slots, CAPACITY: self.capacity}
        return DeviceBuffer(spec.shape(sizes), spec.data_type, device)


def _window(spec: TensorSpec) -> int | None:
    capacity = spec.axes[2]
    return capacity if isinstance(capacity, int) else None


def _evicted(buffer: _LayerBuffer, before: int, after: int) -> int:
    """Return how many rows leave a window while its sequence grows from one length to another."""
    return (after - buffer.resident(after)) - (before - buffer.resident(before))
