"""Device memory that sessions read and write in place."""

from math import prod
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.models.errors import DeviceError
from gptneo_onnx.models.graph import DataType, TensorSpec
from gptneo_onnx.runtime.engine.device import CPU, Device


class DeviceBuffer:
    """A zeroed tensor on a device; any range of its first axis can be bound without a copy."""

    def __init__(self, shape: tuple[int, ...], data_type: DataType, device: Device) -> None:
        self.shape = shape
        self.data_type = data_type
        self.device = device
        # numpy lacks bfloat16: its two bytes are an integer here, and views are bound with the
        # right type. On a CPU, numpy's zeros take no memory until they are written.
        self.host_type = np.dtype("int16" if data_type is DataType.BFLOAT16 else data_type.value)
        try:
            self.value = onnxruntime.OrtValue.ortvalue_from_numpy(
                np.zeros(shape, self.host_type), device.type, device.index
            )
        except Exception as error:  # numpy's MemoryError, or what ONNX Runtime's allocator raises
            raise DeviceError(
                f"a cache of {shape[0]} sequences does not fit into the memory of {device}; "
                "take fewer slots or a smaller batch"
            ) from error

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.data_type.itemsize

    def bind_input(self, binding: onnxruntime.IOBinding, name: str, first: int, count: int) -> None:
        """Bind `count` entries of the first axis, from `first` on, as a graph input."""
        binding.bind_input(name, *self.view(first, count))

    def bind_output(
        self, binding: onnxruntime.IOBinding, name: str, first: int, count: int
    ) -> None:
        """Bind the same memory as a graph output."""
        binding.bind_output(name, *self.view(first, count))

    @property
    def host(self) -> NDArray[Any]:
        """The tensor's memory as an array; only for a tensor on a CPU."""
        return np.asarray(self.value.numpy())

    def view(
        self, first: int, count: int, element: int | None = None
    ) -> tuple[str, int, int, tuple[int, ...], int]:
        """Return what binding takes: device, its index, element type, shape and address of entries.

        Args:
            first, count: a range of the first axis.
            element: another type of the same size, by its number in onnx.TensorProto.DataType.
        """
        entry_bytes = prod(self.shape[1:]) * self.data_type.itemsize
        pointer = self.value.data_ptr() + first * entry_bytes
        view = (count, *self.shape[1:])
        element = self.data_type.onnx if element is None else element
        return self.device.type, self.device.index, element, view, pointer


class StepInput:
    """A small graph input: bound once, written on the host before each step."""

    def __init__(
        self,
        binding: onnxruntime.IOBinding,
        spec: TensorSpec,
        shape: tuple[int, ...],
        device: Device,
    ) -> None:
        self.host: NDArray[Any] = np.zeros(shape, spec.data_type.value)
        # On the CPU the value is a view of `host`, so writing to `host` is enough.
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy(self.host, device.type, device.index)
        self.is_shared = device == CPU
        binding.bind_ortvalue_input(spec.name, self.value)

    def write(self, values: Any) -> None:
        self.host[...] = values
        if not self.is_shared:
            self.value.update_inplace(self.host)
