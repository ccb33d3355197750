"""Files that stay open from the first check to the last: what is checked is what is loaded.

A name may lead to another file at any moment, since other processes rename and replace files. An
open file stays the same one. Its contents may still be written to meanwhile, which its change time
tells: no ordinary program can set that, as it can the modification time.
"""

import hashlib
import mmap
import os
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.manifest import sha256_of_stream
from gptneo_onnx.runtime.model_files.paths import check_inside

# Larger graphs, those with weights inside, are mapped instead of read.
MAX_READ_BYTES = 16 * 1024 * 1024
# File systems stamp changes by a clock that may tick 100 times a second only.
_TICK_NS = 20_000_000
_TRIES = 5


class HeldFile:
    """A regular file that was opened once; it is closed with close(), or when it is forgotten.

    Attributes:
        path: where it was opened.
        descriptor: the open file, of the system.
        size: its bytes.
        identity: its device, inode, size, modification time and change time. A file of the same
            identity has the same contents: no change before that shares its change time.

    Raises:
        ModelFileError: it cannot be opened, or is written to again and again.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        try:
            self.descriptor = _opened(path) if descriptor is None else descriptor
            self._close = weakref.finalize(self, os.close, self.descriptor)
            status = _settled(self.descriptor)
        except OSError as error:
            raise ModelFileError(
                f"{path} cannot be read ({error.strerror}); check its permissions, "
                "or fetch the file again"
            ) from error
        if status is None:
            raise ModelFileError(f"{path} is being written to; load the model when that is done")
        self.size = status.st_size
        self.identity = identity_of(status)
        self._content: bytes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the file for a child that inherits the descriptor; Windows opens it again."""
        return HeldFile, ((self.path,) if sys.platform == "win32" else (self.path, self.descriptor))

    @classmethod
    def inside(cls, directory: Path, name: str, *, hashed: bool = False) -> "HeldFile":
        """Open a file of a model's directory; arguments and errors are check_inside()'s, too."""
        status = check_inside(directory, name, hashed=hashed)
        held = cls(directory / name)
        if not os.path.samestat(status, os.fstat(held.descriptor)):
            raise _changed(held.path)
        return held

    @property
    def is_open(self) -> bool:
        """Whether it was not closed yet."""
        return self._close.alive

    def close(self) -> None:
        """Close the file, if that was not done; what was mapped of it stays so."""
        self._content = None
        self._close()

    @property
    def is_large(self) -> bool:
        """Whether it is mapped, where a smaller one is read once and kept."""
        return self.size > MAX_READ_BYTES

    @contextmanager
    def reading(self) -> Iterator[IO[bytes]]:
        """Open the same file for reading from its start; one reader at a time."""
        assert self.is_open, "the descriptor may be another file's by now"
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            file.seek(0)
            yield file

    def content(self) -> bytes:
        """Return all bytes; those of a file that is not large are the same at every call."""
        if self._content is not None:
            return self._content
        with self.reading() as file:
            content = file.read(self.size + 1)
        if len(content) != self.size:
            raise _changed(self.path)
        if not self.is_large:
            self._content = content
        return content

    def mapped(self) -> mmap.mmap:
        """Return the file mapped into memory, to be read; it must not be empty."""
        assert self.is_open, "the descriptor may be another file's by now"
        return mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)

    def view(self) -> memoryview:
        """Return its bytes: mapped if they are many, since a graph may hold its weights."""
        return memoryview(self.mapped() if self.is_large else self.content())

    def sha256(self) -> str:
        """Return the SHA-256 of its contents in hexadecimal."""
        if not self.is_large:
            return hashlib.sha256(self.content()).hexdigest()
        with self.reading() as file:
            return sha256_of_stream(file)

    def check_unchanged(self, by_path: bool = False) -> None:
        """Raise ModelFileError if the file was written to since it was opened.

        Args:
            by_path: whether the path must lead to this very file still, for those who opened it
                by its path.
        """
        try:
            status = self.path.stat() if by_path else os.fstat(self.descriptor)
        except OSError as error:
            raise _changed(self.path) from error
        if identity_of(status) != self.identity:
            raise _changed(self.path)


@dataclass(frozen=True)
class HeldGraph:
    """A graph's file, and the files beside it that hold its weights."""

    graph: HeldFile
    data_files: tuple[HeldFile, ...] = ()

    @property
    def files(self) -> tuple[HeldFile, ...]:
        return self.graph, *self.data_files


def identity_of(status: os.stat_result) -> str:
    """Return what tells a file from others and from its own later states; see HeldFile."""
    numbers = (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip
    return ":".join(map(str, numbers))


def _opened(path: Path) -> int:
    # Opening a pipe that took the file's place would wait for its other end; O_BINARY is Windows'.
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, os.O_RDONLY | flags)


def _settled(descriptor: int) -> os.stat_result | None:
    """Return a file's status once a later change would give it another change time.

    Within a tick of the file system's clock a second change goes unnoticed. None if it is changed
    again and again.
    """
    status = os.fstat(descriptor)
    if time.time_ns() - status.st_ctime_ns > _TICK_NS:
        return status
    for _ in range(_TRIES):
        time.sleep(_TICK_NS / 1e9)
        before, status = status, os.fstat(descriptor)
        if identity_of(before) == identity_of(status):
            return status
    return None


def _changed(path: Path) -> ModelFileError:
    return ModelFileError(f"{path} was changed while it was loaded; load the model again")
