"""A tensor's place in a checkpoint file, from which its numbers are read on demand."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import ModelFileError

# Embedding tables are read in blocks of about this many bytes, to bound memory.
BLOCK_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class StoredTensor:
    """A tensor at a byte offset of a file, read on demand.

    It is read, not memory-mapped: mapped pages would count as this process's memory until they are
    evicted, and a checkpoint is larger than the memory that an export may take.

    Attributes:
        path: the file.
        name: the tensor's name in it, for messages.
        offset: where its bytes begin.
        dtype: the type of its numbers, little-endian.
        shape: its shape as it is read.
        transposed: whether the file holds the transpose of this matrix, as Flax stores layers.
        pieces: where the bytes lie in several pieces, each one's offset and length, in order.
    """

    path: Path
    name: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    transposed: bool = False
    pieces: tuple[tuple[int, int], ...] = ()

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """Read the whole tensor.

        Raises:
            ModelFileError: the file ends too early or cannot be read.
        """
        if self.transposed:
            stored = self._read_at(0, self.shape[::-1])
            return np.ascontiguousarray(stored.T)
        return self._read_at(0, self.shape)

    def row_blocks(self) -> Iterator[NDArray[Any]]:
        """Read the tensor in blocks of rows of its first axis, in order; raises like `read`."""
        row_bytes = max(1, prod(self.shape[1:]) * self.dtype.itemsize)
        rows = max(1, BLOCK_BYTES // row_bytes)
        for start in range(0, self.shape[0], rows):
            count = min(rows, self.shape[0] - start)
            if self.transposed:
                yield self._read_columns(start, count)
            else:
                yield self._read_at(start * row_bytes, (count, *self.shape[1:]))

    def _read_columns(self, start: int, count: int) -> NDArray[Any]:
        """Read rows of a transposed matrix: the same columns of every row that is stored."""
        rows, columns = self.shape
        array = np.empty((columns, count), self.dtype)
        for column in range(columns):
            position = (column * rows + start) * self.dtype.itemsize
            array[column] = self._read_at(position, (count,))
        return np.ascontiguousarray(array.T)

    def _read_at(self, start: int, shape: tuple[int, ...]) -> NDArray[Any]:
        array = np.empty(shape, self.dtype)
        buffer = array.reshape(-1).view(np.uint8).data
        try:
            self._fill(buffer, start)
        except OSError as error:
            raise ModelFileError(
                f"{self.path}: {self.name} cannot be read: {error.strerror}"
            ) from error
        return array

    def _fill(self, buffer: memoryview, start: int) -> None:
        """Fill the buffer with the tensor's bytes from `start` on."""
        with self.path.open("rb", buffering=0) as file:
            filled = 0
            for offset, length in self.pieces or ((self.offset, self.nbytes),):
                skipped = min(start, length)
                start -= skipped
                end = min(len(buffer), filled + length - skipped)
                file.seek(offset + skipped, os.SEEK_SET)
                while filled < end:
                    count = file.readinto(buffer[filled:end])
                    if not count:
                        raise ModelFileError(
                            f"{self.path} ends {end - filled} bytes too early: "
                            "it is truncated; fetch it again"
                        )
                    filled += count
