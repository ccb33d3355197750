"""Locks between processes: one file, held by one process at a time."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from gptneo_onnx.models.interruption import half_written

_RETRY_SECONDS = 0.1


@contextmanager
def file_lock(path: Path, on_wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold a lock; wait while another process or thread holds it.

    The system frees it when a process ends in any way. The file is removed at the end. Where a
    file system has no locks, nothing is held.

    Args:
        path: the lock's file, which is made.
        on_wait: called once if the lock is held elsewhere.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = _opened(path)
    if not _is_taken(descriptor, path):
        if on_wait is not None:
            on_wait()
        while not _is_taken(descriptor, path):
            time.sleep(_RETRY_SECONDS)
            os.close(descriptor)  # the file may be another one by now
            descriptor = _opened(path)
    with half_written(partial(_free, [descriptor], path)):
        yield


def is_locked(path: Path) -> bool | None:
    """Return whether another process or thread holds the lock; None where there are no locks."""
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        taken = take_lock(descriptor, path)
        return None if taken is None else not taken
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _is_taken(descriptor: int, path: Path) -> bool:
    """Take the lock without waiting, or go on where there are no locks."""
    return take_lock(descriptor, path) is not False


def take_lock(descriptor: int, path: Path) -> bool | None:
    """Take the lock of an open file without waiting; it is free when the descriptor is closed.

    Args:
        descriptor: the file, open for writing.
        path: where it was opened.

    Returns:
        False if it is held elsewhere, or if the file is not at its path any more; None where the
        file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        import fcntl
    except ImportError:  # a system without locks
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _free(held: list[int], path: Path) -> None:
    """Free the lock and remove its file, once: afterwards it may be another process's."""
    while held:
        descriptor = held.pop()
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(descriptor)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(descriptor)
