"""One weight of a graph: its name, type and shape, and how its bytes come from a checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.graph import DataType

NUMPY_TYPES: dict[DataType, np.dtype[Any]] = {
    DataType.FLOAT32: np.dtype(np.float32),
    DataType.FLOAT16: np.dtype(np.float16),
    DataType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    DataType.UINT8: np.dtype(np.uint8),
    DataType.INT8: np.dtype(np.int8),
    DataType.BOOL: np.dtype(np.bool_),
}
_LARGEST = {DataType.FLOAT32: 3.4e38, DataType.FLOAT16: 65504, DataType.BFLOAT16: 3.39e38}

Blocks = Iterator[NDArray[Any]]


@dataclass(frozen=True)
class GraphWeight:
    """One initializer of the graph.

    Attributes:
        name, data_type, shape: the initializer's.
        blocks: reads it from the checkpoint: arrays whose bytes, one behind the other, are the
            tensor's, so that no more than one matrix is ever in memory.
        same_bytes_as: the name of another weight whose bytes it shares, of equal size; `blocks` is
            then not called.
    """

    name: str
    data_type: DataType
    shape: tuple[int, ...]
    blocks: Callable[[], Blocks]
    same_bytes_as: str = ""

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.data_type.bits // 8

    def alias(self, name: str, shape: tuple[int, ...]) -> "GraphWeight":
        """The same bytes under another name and shape."""
        return GraphWeight(name, self.data_type, shape, self.blocks, same_bytes_as=self.name)

    def declared_as(self, data_type: DataType, shape: tuple[int, ...]) -> "GraphWeight":
        """The same bytes as another type and shape, for a graph that reads them so."""
        declared = replace(self, data_type=data_type, shape=shape)
        assert declared.nbytes == self.nbytes
        return declared


def converted(values: NDArray[Any], source: StoredTensor, data_type: DataType) -> NDArray[Any]:
    """A tensor's values, or a part of them, in a graph's type.

    Raises:
        ModelFileError: they are not finite, or not in that type.
    """
    with np.errstate(over="ignore"):
        result = values.astype(NUMPY_TYPES[data_type], copy=False)
    if not np.isfinite(result).all():
        raise _not_finite(values, source, data_type)
    return result


def _not_finite(values: NDArray[Any], source: StoredTensor, data_type: DataType) -> ModelFileError:
    where = f"{source.path}: {source.name} holds"
    if not np.isfinite(values).all():
        return ModelFileError(f"{where} weights that are not finite numbers; fetch it again")
    largest = float(np.abs(values).max())
    return ModelFileError(
        f"{where} weights of {largest:.3g}, and {data_type.value} ends at "
        f"{_LARGEST[data_type]:g}; "
        + (
            "export with --precision bf16 or fp32"
            if data_type is DataType.FLOAT16
            else "no GPT-Neo has such weights: fetch it again"
        )
    )
