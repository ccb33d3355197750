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
    """A contiguous tensor at a byte offset of a file, read on demand.

    It is read, not memory-mapped: mapped pages would count as this process's memory until they are
    evicted, and a checkpoint is larger than the memory that an export may take.
    """

    path: Path
    name: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """Read the whole tensor.

        Raises:
            ModelFileError: the file ends too early or cannot be read.
        """
        return self._read_at(0, self.shape)

    def row_blocks(self) -> Iterator[NDArray[Any]]:
        """Read the tensor in blocks of rows of its first axis, in order; raises like `read`."""
        row_bytes = max(1, prod(self.shape[1:]) * self.dtype.itemsize)
        rows = max(1, BLOCK_BYTES // row_bytes)
        for start in range(0, self.shape[0], rows):
            count = min(rows, self.shape[0] - start)
            yield self._read_at(start * row_bytes, (count, *self.shape[1:]))

    def _read_at(self, start: int, shape: tuple[int, ...]) -> NDArray[Any]:
        array = np.empty(shape, self.dtype)
        buffer = array.reshape(-1).view(np.uint8).data
        try:
            self._fill(buffer, self.offset + start)
        except OSError as error:
            raise ModelFileError(
                f"{self.path}: {self.name} cannot be read: {error.strerror}"
            ) from error
        return array

    def _fill(self, buffer: memoryview, offset: int) -> None:
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset, os.SEEK_SET)
            filled = 0
            while filled < len(buffer):
                count = file.readinto(buffer[filled:])
                if not count:
                    raise ModelFileError(
                        f"{self.path} ends {len(buffer) - filled} bytes too early: "
                        "it is truncated; fetch it again"
                    )
                filled += count
