"""What is half written at the moment, for the program that a signal ends.

The library handles no signals: they belong to the program around it. That of this project is
runtime/cli/signals.py.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_removals: dict[object, Callable[[], object]] = {}
_renaming = threading.Lock()


@contextmanager
def half_written(remove: Callable[[], object]) -> Iterator[None]:
    """Remove what the block leaves half written, whether or not it succeeds.

    Args:
        remove: removes it if it is there. It is called when the block ends, and where a signal
            ends the process before.
    """
    key = object()
    _removals[key] = remove
    try:
        yield
    finally:
        remove()
        _removals.pop(key, None)


@contextmanager
def renaming() -> Iterator[None]:
    """Enter while something becomes whole: stop_and_remove() waits until that is done."""
    with _renaming:
        yield


def remove_half_written() -> None:
    """Remove what is half written: for the thread that was writing it."""
    for key, remove in reversed(list(_removals.items())):
        remove()
        _removals.pop(key, None)


def stop_and_remove(timeout_s: float) -> None:
    """Remove what another thread is writing, which nothing makes whole from now on.

    Only for a process that is about to end: renaming() is not entered any more.

    Args:
        timeout_s: how long a renaming() may take that has begun; nothing is removed if it is not
            done by then.
    """
    if _renaming.acquire(timeout=timeout_s):
        remove_half_written()


def _after_fork() -> None:
    """Forget, in a child process, what its parent is writing."""
    global _renaming
    _removals.clear()
    _renaming = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
