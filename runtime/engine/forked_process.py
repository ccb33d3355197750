"""What a forked process does about the sessions of ONNX Runtime that it has from its parent.

Their threads stay in the parent, and ONNX Runtime waits for them for ever where such a session
ends: when it is freed, and when the process exits. So a child process frees none, skips what C
libraries do at exit, and opens its models again (Engine.exclusive).
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

_sessions: WeakSet[Any] = WeakSet()
_opening = threading.Lock()


def keep_in_forked_processes(session: Any) -> None:
    """Have processes that are forked from this one never free a session."""
    _sessions.add(session)


@contextmanager
def opening_after_fork() -> Iterator[None]:
    """Enter to open a model again: one thread of a process at a time."""
    with _opening:
        yield


def _after_fork() -> None:
    global _opening
    _opening = threading.Lock()
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
    if _sessions and sys.platform == "linux":
        _skip_exit_handlers()


def _skip_exit_handlers() -> None:
    """Have exit() call _exit() first: handlers run in the reverse order of their registration."""
    library = ctypes.CDLL(None)
    if hasattr(library, "on_exit"):  # of glibc; it passes the status on
        library.on_exit(library._exit, None)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
