"""Copies of cache rows, made where the cache is: by numpy on a CPU, elsewhere by a small graph.

Rows are [heads, rows, head_dim] of one slot. On a CPU they are numpy arrays; on another device they
stay there, as [1, heads, rows, head_dim], until `to_host` fetches them.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Indices
from gptneo_onnx.runtime.engine.buffers import DeviceBuffer
from gptneo_onnx.runtime.engine.device import CPU, Device
from gptneo_onnx.runtime.engine.session import Session, create_session_of_bytes

_SLOT_AXIS, _ROW_AXIS = 0, 2

# Names and numbers of gather_graph().
KEPT, ROWS, INDICES, MOVED = "kept", "rows", "indices", "moved"
# onnx.TensorProto.DataType of an integer with as many bytes.
ELEMENT_TYPES = {2: 5, 4: 6}
_INT64 = 7
_IR_VERSION, _OPSET = 10, 21
_ATTRIBUTE_INT = 2


class RowCopier(Protocol):
    """Copies rows of a cache buffer, for beams, rejected tokens and saved prompts."""

    def read(self, buffer: DeviceBuffer, slot: int, start: int, stop: int) -> Any:
        """Return a copy of rows start to stop - 1 of a slot."""

    def view(self, buffer: DeviceBuffer, slot: int, start: int, stop: int) -> NDArray[Any]:
        """Return rows start to stop - 1 of a slot on the host, valid until they change."""

    def put_parts(self, buffer: DeviceBuffer, slot: int, parts: Sequence[NDArray[Any]]) -> None:
        """Write rows of the host at a slot's start, those of one part after another."""

    def put(self, buffer: DeviceBuffer, slot: int, rows: Any, part: slice, keep: int) -> None:
        """Write rows[:, part] at a slot's start; move its first `keep` rows to just after them."""

    def reorder(self, buffer: DeviceBuffer, order: Indices, rows: int) -> None:
        """Give slot i the first `rows` rows that slot order[i] had."""

    def to_host(self, rows: Any) -> NDArray[Any]:
        """Return rows as an array [heads, rows, head_dim]."""


def row_copier(device: Device, host_type: np.dtype[Any]) -> RowCopier:
    """Return the copier of a device, for elements that the host sees as that type."""
    return HostRowCopier() if device == CPU else DeviceRowCopier(device, host_type)


class HostRowCopier:
    """Copies rows on a CPU: by numpy in the buffers' memory, touching only rows in use."""

    def read(self, buffer: DeviceBuffer, slot: int, start: int, stop: int) -> NDArray[Any]:
        return self.view(buffer, slot, start, stop).copy()

    def view(self, buffer: DeviceBuffer, slot: int, start: int, stop: int) -> NDArray[Any]:
        return buffer.host[slot, :, start:stop]

    def put_parts(self, buffer: DeviceBuffer, slot: int, parts: Sequence[NDArray[Any]]) -> None:
        count = sum(part.shape[1] for part in parts)
        np.concatenate(parts, axis=1, out=buffer.host[slot, :, :count])

    def put(
        self, buffer: DeviceBuffer, slot: int, rows: NDArray[Any], part: slice, keep: int
    ) -> None:
        slot_rows, rows = buffer.host[slot], rows[:, part]
        count = rows.shape[1]
        if keep:
            slot_rows[:, count : count + keep] = slot_rows[:, :keep]
        slot_rows[:, :count] = rows

    def reorder(self, buffer: DeviceBuffer, order: Indices, rows: int) -> None:
        moved = np.flatnonzero(order != np.arange(len(order)))
        sources, host = order[moved], buffer.host
        if set(sources.tolist()) & set(moved.tolist()):  # a source is overwritten
            host[moved, :, :rows] = host[sources, :, :rows]
            return
        for target, source in zip(moved, sources, strict=True):
            host[target, :, :rows] = host[source, :, :rows]

    def to_host(self, rows: NDArray[Any]) -> NDArray[Any]:
        return rows


class DeviceRowCopier:
    """Copies rows on any device: by gather_graph(), its output bound to the buffer's memory."""

    def __init__(self, device: Device, host_type: np.dtype[Any]) -> None:
        self.device = device
        self.host_type = host_type
        self.element = ELEMENT_TYPES[host_type.itemsize]
        self._integer = np.dtype(f"int{8 * host_type.itemsize}")
        self._sessions: dict[int, Session] = {}

    def read(self, buffer: DeviceBuffer, slot: int, start: int, stop: int) -> onnxruntime.OrtValue:
        binding = self._bound(_ROW_AXIS, buffer, slot, 1, None, np.arange(start, stop))
        binding.bind_output(MOVED, self.device.type, self.device.index)
        self._run(_ROW_AXIS, binding)
        return binding.get_outputs()[0]

    def view(self, buffer: DeviceBuffer, slot: int, start: int, stop: int) -> NDArray[Any]:
        return self.to_host(self.read(buffer, slot, start, stop))

    def put_parts(self, buffer: DeviceBuffer, slot: int, parts: Sequence[NDArray[Any]]) -> None:
        self.put(buffer, slot, np.concatenate(parts, axis=1), slice(None), keep=0)

    def put(self, buffer: DeviceBuffer, slot: int, rows: Any, part: slice, keep: int) -> None:
        kept = rows if isinstance(rows, onnxruntime.OrtValue) else self._from_host(rows[None])
        count = kept.shape()[_ROW_AXIS]
        used = np.concatenate([np.arange(count)[part], np.arange(count, count + keep)])
        indices = np.zeros(buffer.shape[_ROW_AXIS], np.int64)  # after them, any row will do
        indices[: len(used)] = used
        binding = self._bound(_ROW_AXIS, buffer, slot, 1, kept, indices)
        self._bind_moved(binding, buffer, slot, 1)
        self._run(_ROW_AXIS, binding)

    def reorder(self, buffer: DeviceBuffer, order: Indices, rows: int) -> None:
        binding = self._bound(_SLOT_AXIS, buffer, 0, len(order), None, order)
        self._bind_moved(binding, buffer, 0, len(order))
        self._run(_SLOT_AXIS, binding)

    def to_host(self, rows: Any) -> NDArray[Any]:
        return np.asarray(rows.numpy()[0].view(self.host_type))

    def _bound(
        self,
        axis: int,
        buffer: DeviceBuffer,
        first: int,
        count: int,
        kept: onnxruntime.OrtValue | None,
        indices: Indices,
    ) -> onnxruntime.IOBinding:
        binding = self._session(axis).inference.io_binding()
        if kept is None:
            shape = [count, *buffer.shape[1:]]
            shape[axis] = 0
            kept = self._from_host(np.empty(shape, self._integer))
        binding.bind_ortvalue_input(KEPT, kept)
        binding.bind_input(ROWS, *buffer.view(first, count, self.element))
        binding.bind_cpu_input(INDICES, np.ascontiguousarray(indices, np.int64))
        return binding

    def _bind_moved(
        self, binding: onnxruntime.IOBinding, buffer: DeviceBuffer, first: int, count: int
    ) -> None:
        binding.bind_output(MOVED, *buffer.view(first, count, self.element))

    def _from_host(self, rows: NDArray[Any]) -> onnxruntime.OrtValue:
        integers = np.ascontiguousarray(rows).view(self._integer)
        return onnxruntime.OrtValue.ortvalue_from_numpy(integers)

    def _run(self, axis: int, binding: onnxruntime.IOBinding) -> None:
        self._session(axis).run(binding)

    def _session(self, axis: int) -> Session:
        if axis not in self._sessions:
            graph = gather_graph(axis, self.host_type.itemsize)
            self._sessions[axis] = create_session_of_bytes(graph, self.device)
        return self._sessions[axis]


def gather_graph(axis: int, itemsize: int) -> bytes:
    """Return a serialized ModelProto that moves rows, for elements of that many bytes.

        kept, rows -> Concat(axis) -> Gather(axis, indices) -> moved

    `moved` may be bound to the memory of `rows`: the concatenation in between is a tensor of its
    own. Elements are moved as integers of their size, so one graph serves every float type. It is
    encoded by hand, since the runtime works without the onnx package
    (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

    Args:
        axis: 0 to move slots, 2 to move rows, of tensors [slots, heads, rows, head_dim].
        itemsize: bytes of an element.
    """
    element = ELEMENT_TYPES[itemsize]
    joined = "joined"
    graph = b"".join(
        (
            _node("Concat", [KEPT, ROWS], joined, axis),
            _node("Gather", [joined, INDICES], MOVED, axis),
            _bytes(2, b"gather"),
            _bytes(11, _value(KEPT, element, 4)),
            _bytes(11, _value(ROWS, element, 4)),
            _bytes(11, _value(INDICES, _INT64, 1)),
            _bytes(12, _value(MOVED, element, 4)),
        )
    )
    opset = _integer(2, _OPSET)
    return _integer(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, opset)


def _node(operator: str, inputs: list[str], output: str, axis: int) -> bytes:
    attribute = _bytes(1, b"axis") + _integer(3, axis) + _integer(20, _ATTRIBUTE_INT)
    return _bytes(
        1,
        b"".join(_bytes(1, name.encode()) for name in inputs)
        + _bytes(2, output.encode())
        + _bytes(3, output.encode())
        + _bytes(4, operator.encode())
        + _bytes(5, attribute),
    )


def _value(name: str, element: int, rank: int) -> bytes:
    """Return a ValueInfoProto whose axes all have different names."""
    axes = b"".join(_bytes(1, _bytes(2, f"{name}_{axis}".encode())) for axis in range(rank))
    tensor = _integer(1, element) + _bytes(2, axes)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
