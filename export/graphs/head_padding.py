"""Heads of any size for GroupQueryAttention, which takes multiples of 8: zeros fill them up.

Rows of zeros after each head's rows of the query, key and value projections make zeros in queries,
keys and values; they add nothing to a score, and the attended values end with zeros, which columns
of zeros in the output projection multiply. So results are as without padding. Graphs of standard
operators take heads as they are: where both kinds are written, both weights are stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.models.config import GPTNeoConfig

_PADDED = ".padded"
_Scalar = TypeVar("_Scalar", bound=np.generic)


def heads_layer(layer: str, config: GPTNeoConfig, head_size: int) -> str:
    """Return the name under which a layer is stored for heads of that size."""
    return layer if head_size == config.head_dim else layer + _PADDED


def model_layer(layer: str) -> str:
    """Return the name of the model's layer that heads_layer named, or of its weight."""
    return layer.replace(_PADDED, "")


def model_columns(config: GPTNeoConfig, head_size: int) -> NDArray[np.int64]:
    """Return the indices of the columns that are not padding, among those of heads of that size."""
    starts = head_size * np.arange(config.num_heads)
    return (starts[:, None] + np.arange(config.head_dim)).reshape(-1)


def padded(
    array: NDArray[_Scalar], config: GPTNeoConfig, head_size: int, axis: int
) -> NDArray[_Scalar]:
    """Return the array with heads of head_size instead of head_dim along an axis."""
    if head_size == config.head_dim:
        return array
    shape = list(array.shape)
    shape[axis] = config.num_heads * head_size
    result = np.zeros(shape, array.dtype)
    where: list[Any] = [slice(None)] * array.ndim
    where[axis] = model_columns(config, head_size)
    result[tuple(where)] = array
    return result


@dataclass(frozen=True, kw_only=True)
class _PaddedTensor(StoredTensor):
    """A tensor with padded heads along an axis."""

    source: StoredTensor
    config: GPTNeoConfig
    head_size: int
    axis: int

    def read(self) -> NDArray[Any]:
        return padded(self.source.read(), self.config, self.head_size, self.axis)

    def row_blocks(self) -> Iterator[NDArray[Any]]:
        yield self.read()


def padded_tensor(
    tensor: StoredTensor, config: GPTNeoConfig, head_size: int, axis: int
) -> StoredTensor:
    """Return a tensor that is padded when it is read; the tensor itself for heads of head_dim."""
    if head_size == config.head_dim:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = config.num_heads * head_size
    return _PaddedTensor(
        path=tensor.path,
        name=tensor.name,
        offset=tensor.offset,
        dtype=tensor.dtype,
        shape=tuple(shape),
        source=tensor,
        config=config,
        head_size=head_size,
        axis=axis,
    )
