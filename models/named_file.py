"""Open a file that somebody names: a regular file, or where that will do a stream of the shell.

Opening a pipe waits for whoever writes it, and a device may have no end. What is no regular file
is refused before it is opened. A shell's <(command) is a pipe too, under a name such as
/dev/fd/63: readers that read once and have a bound may take it.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

# Where a process finds what it has open already.
_OPEN_FILES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_BLOCK = 1024 * 1024
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class TooLargeError(ValueError):
    """A file has more bytes than are read of it; the message goes on after the file's name."""


def is_stream(path: str | Path) -> bool:
    """Return whether a path names what the process has open, as /dev/stdin and <(command) do."""
    return os.fspath(path).startswith(_OPEN_FILES)


def is_utf8(path: str | Path) -> bool:
    """Return whether a path can be written in UTF-8: ONNX and ONNX Runtime open no other."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def open_file(path: str | Path, takes_streams: bool = False) -> BinaryIO:
    """Open a file for reading.

    Args:
        path: the file.
        takes_streams: whether what is_stream() tells may be a pipe or a device.

    Raises:
        OSError: it cannot be opened, or is no regular file; strerror says which.
    """
    is_free = takes_streams and is_stream(path)
    try:
        if not is_free:
            # Before it is opened: some devices do something then.
            _check_regular(path, Path(path).stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except ValueError as error:  # a zero byte, or a lone surrogate
        raise OSError(errno.EINVAL, "no file can have that name") from error
    try:
        _check_regular(path, os.fstat(descriptor).st_mode, is_free)
        if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12
            os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: str | Path, max_bytes: int, takes_streams: bool = False) -> bytes:
    """Return what open_file() opens, if it has at most max_bytes.

    Raises:
        OSError: as from open_file().
        TooLargeError: it has more; of a regular file nothing was read then.
    """
    with open_file(path, takes_streams) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise TooLargeError(f"has {size} bytes; at most {max_bytes} are read")
        return read_stream(file, max_bytes, size)


def read_stream(file: BinaryIO, max_bytes: int, expected: int = 0) -> bytes:
    """Return the rest of an open file, if that is at most max_bytes.

    Args:
        file: the file.
        max_bytes: the bound.
        expected: how many bytes there seem to be; a stream and a file of /proc have 0.

    Raises:
        OSError: it cannot be read.
        TooLargeError: it has more.
    """
    blocks = [file.read(expected)]
    count = len(blocks[0])
    is_whole = False
    while not is_whole:
        block = file.read(_BLOCK)
        is_whole = len(block) < _BLOCK  # a terminal would have to end twice if it were read again
        blocks.append(block)
        count += len(block)
        if count > max_bytes:
            raise TooLargeError(f"has more than {max_bytes} bytes, the most that are read")
    return b"".join(filter(None, blocks))


def _check_regular(path: str | Path, mode: int, takes_streams: bool = False) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if stat.S_ISREG(mode) or takes_streams:
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    message = f"it is {kind}, and a regular file is expected"
    raise OSError(errno.EINVAL, message, os.fspath(path))
