"""The slot cache: keys and values of several sequences, updated in place by the graph."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import BATCH, CAPACITY, GraphContract, TensorSpec
from gptneo_onnx.runtime.buffers import DeviceBuffer
from gptneo_onnx.runtime.device import Device


class SlotCache:
    """One [slots, heads, capacity, head_dim] buffer for each layer's keys and each layer's values.

    A slot holds one sequence. Global layers keep every position up to `capacity`; local layers keep
    the last `window` positions, however long the sequence is.

    Attributes:
        slots: how many sequences fit.
        capacity: the longest sequence, in tokens.
        lengths: int64 [slots], the tokens that each slot holds.
    """

    def __init__(self, contract: GraphContract, slots: int, capacity: int, device: Device) -> None:
        self.slots = slots
        self.capacity = capacity
        self.lengths: NDArray[np.int64] = np.zeros(slots, np.int64)
        self._buffers = [
            (past.name, present.name, self._allocate(past, device))
            for cache in contract.caches
            for past, present in zip(cache.past, cache.present, strict=True)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes that the cache may fill on the device."""
        return sum(buffer.nbytes for _, _, buffer in self._buffers)

    def check_room(self, slot: int, tokens: int) -> None:
        """Raise InputError unless that many tokens fit behind what the slot holds."""
        held = int(self.lengths[slot])
        if not 1 <= tokens <= self.capacity - held:
            raise InputError(
                f"{tokens} tokens cannot follow the {held} of slot {slot}; "
                f"1 to {self.capacity - held} can"
            )

    def clear(self, slot: int) -> None:
        """Forget the slot's sequence; its memory is overwritten by the next one."""
        self.lengths[slot] = 0

    def bind(self, binding: onnxruntime.IOBinding, first: int, count: int) -> None:
        """Bind `count` slots from `first` on as past and present: the same memory for both.

        Raises:
            InputError: slots that there are not; binding is by address: nothing else would notice.
        """
        if not 0 <= first < first + count <= self.slots:
            raise InputError(
                f"slots {first} to {first + count - 1} were asked for; 0 to {self.slots - 1} exist"
            )
        for past, present, buffer in self._buffers:
            buffer.bind_input(binding, past, first, count)
            buffer.bind_output(binding, present, first, count)

    def _allocate(self, spec: TensorSpec, device: Device) -> DeviceBuffer:
        sizes = {BATCH: self.slots, CAPACITY: self.capacity}
        return DeviceBuffer(spec.shape(sizes), spec.data_type, device)
