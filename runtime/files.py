"""Files and folders: UTF-8 texts, atomic writes, and the user's cache folder."""

import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.file_lock import take_lock
from gptneo_onnx.models.interruption import half_written
from gptneo_onnx.models.named_file import (
    TooLargeError,
    is_stream,
    open_file,
    read_file,
    read_stream,
)

# The longest text that is read at once; that of a stream, whose size nobody knows before; and the
# longest line of a table, or text in a row of one.
MAX_TEXT_BYTES = 1024 * 1024 * 1024
MAX_STREAM_BYTES = 256 * 1024 * 1024
MAX_ROW_BYTES = 32 * 1024 * 1024
_BYTE_ORDER_MARK = "\ufeff"
# The names of files that are being written.
_PREFIX, _SUFFIX = ".gptneo-onnx-", ".partial"


def read_text(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a UTF-8 file, without its byte order mark; line ends stay as they are.

    A shell's <(command) is read too, up to MAX_STREAM_BYTES.

    Raises:
        InputError: the file cannot be read, is no regular file, is larger than max_bytes, or is not
            UTF-8.
    """
    most = min(max_bytes, MAX_STREAM_BYTES) if is_stream(path) else max_bytes
    try:
        content = read_file(path, most, takes_streams=True)
    except TooLargeError as error:
        raise InputError(f"{path} {error}") from error
    except OSError as error:
        raise _cannot_be_read(path, error) from error
    return decode_utf8(content, str(path))


def read_standard_input(max_bytes: int = MAX_STREAM_BYTES) -> str:
    """Read standard input as read_text() reads a file.

    Raises:
        InputError: it is closed, cannot be read, is larger than max_bytes, or is not UTF-8.
    """
    source = "standard input"
    if sys.stdin is None:
        raise InputError(f"{source} is closed; name a file")
    try:
        content = read_stream(sys.stdin.buffer, max_bytes)
    except TooLargeError as error:
        raise InputError(f"{source} {error}") from error
    except OSError as error:
        raise _cannot_be_read(source, error) from error
    return decode_utf8(content, source)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line with its line end) of a UTF-8 file that may exceed memory.

    A shell's <(command) is read too.

    Raises:
        InputError: the file cannot be read, is no regular file, is not UTF-8, or has a line of more
            than MAX_ROW_BYTES.
    """
    number = 0
    try:
        with open_file(path, takes_streams=True) as file:
            while line := file.readline(MAX_ROW_BYTES + 1):
                number += 1
                if len(line) > MAX_ROW_BYTES:
                    raise InputError(
                        f"{path}, line {number} has more than {MAX_ROW_BYTES} bytes, the most that "
                        "are read; divide it"
                    )
                yield number, decode_utf8(line, f"{path}, line {number}", is_start=number == 1)
    except OSError as error:
        raise _cannot_be_read(path, error) from error


def decode_utf8(content: bytes, source: str, is_start: bool = True) -> str:
    """Decode bytes; a byte order mark at the start of a file is no text.

    Raises:
        InputError: they are not UTF-8; it names their source.
    """
    try:
        text = content.decode("utf-8")
        return text.removeprefix(_BYTE_ORDER_MARK) if is_start else text
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source} is not UTF-8: byte {error.start} is {content[error.start]:#x}; "
            "convert it first"
        ) from error


def _cannot_be_read(path: str | Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read: {error.strerror}; name another file")


def check_writable(path: Path, read: Iterable[Path] = ()) -> None:
    """Check that a file can be made, before the work whose result it is to hold.

    Args:
        path: the file to write.
        read: files that the work reads, and that must not be overwritten.

    Raises:
        InputError: the file cannot be made there, or is one of those read.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory; name a file")
        if path.exists() and any(file.exists() and path.samefile(file) for file in read):
            raise InputError(f"{path} is one of the texts, and would be lost; name another file")
        with ExitStack() as removed, ExitStack() as closed:
            _new_file(path.resolve().parent, removed, closed)
    except OSError as error:
        raise _cannot_be_written(path, error) from error


@contextmanager
def atomic_file(path: Path, mode: str) -> Iterator[IO[Any]]:
    """Write a file atomically: write a temporary file, then rename it to `path`.

    If `path` is a symbolic link, the file that it leads to is replaced.

    Args:
        path: the file to write.
        mode: w (UTF-8) or wb.

    Raises:
        InputError: the file cannot be written; an earlier one stays as it was.
    """
    try:
        with replace_atomically(path.resolve(), mode) as file:
            yield file
    except OSError as error:
        raise _cannot_be_written(path, error) from error


@contextmanager
def replace_atomically(path: Path, mode: str, permissions: int = 0o666) -> Iterator[IO[Any]]:
    """Write a file as atomic_file does, but replace a link itself, and let errors pass.

    What killed processes left in the folder is removed.

    Args:
        path: the file to write.
        mode: w (UTF-8) or wb.
        permissions: of the file, less what the user's umask takes away.

    Raises:
        OSError: the file cannot be written; an earlier one stays as it was.
    """
    remove_abandoned_files(path.parent)
    encoding, errors = (None, None) if "b" in mode else ("utf-8", "backslashreplace")
    with ExitStack() as removed, ExitStack() as closed:
        temporary, descriptor = _new_file(path.parent, removed, closed, permissions)
        with os.fdopen(os.dup(descriptor), mode, encoding=encoding, errors=errors) as file:
            yield file
        if sys.platform == "win32":  # an open file cannot be renamed there
            closed.close()
        temporary.replace(path)


def remove_abandoned_files(folder: Path) -> int:
    """Remove the half-written files of processes that were killed; return the bytes freed.

    Those of running processes stay: they hold the locks of their files.
    """
    freed = 0
    if sys.platform == "win32":  # files are not locked there while they are written
        return freed
    with suppress(OSError):
        for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
            with suppress(OSError):
                freed += _removed(path)
    return freed


def _removed(path: Path) -> int:
    """Remove a file if nobody holds its lock; return the bytes freed."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return 0
    descriptor = os.open(path, os.O_RDWR)
    try:
        if not take_lock(descriptor, path):
            return 0
        path.unlink()
        return status.st_size
    finally:
        os.close(descriptor)


def _new_file(
    folder: Path, removed: ExitStack, closed: ExitStack, permissions: int = 0o666
) -> tuple[Path, int]:
    """Make an empty file of an unused name; return it, open for writing.

    Its lock is held, so that no other process takes it for one that was left.

    Args:
        folder: the folder to make it in.
        removed: removes the file at its end, if it was not renamed.
        closed: closes it at its end, which frees the lock.
        permissions: of the file, less what the user's umask takes away.
    """
    while True:
        # Not tempfile's: its files can only be read by the user, and keep that when renamed.
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        removed.enter_context(half_written(partial(_unlink, path)))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
        closed.callback(os.close, descriptor)
        if sys.platform == "win32" or take_lock(descriptor, path) is not False:
            return path, descriptor


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _cannot_be_written(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be written: {error.strerror}; name another file")


def is_directory(path: str | Path) -> bool:
    """Like Path.is_dir(), but False for a text too long to be a path, as a prompt may be."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def cache_folder() -> Path:
    """Return the user's cache folder, which may not exist yet.

    It is $GPTNEO_ONNX_CACHE, or gptneo-onnx in the platform's cache folder.

    Raises:
        InputError: GPTNEO_ONNX_CACHE is not set, and the user has no home directory.
    """
    if chosen := os.environ.get("GPTNEO_ONNX_CACHE"):
        return Path(chosen)
    return _platform_folder() / "gptneo-onnx"


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # a container's user without an entry in /etc/passwd
        raise InputError(
            "there is no home directory for the cache folder; set GPTNEO_ONNX_CACHE to a folder"
        ) from error
