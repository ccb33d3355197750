"""Replaces a directory in one step: at every moment its name leads to a whole one."""

import ctypes
import errno
import os
import sys
from pathlib import Path

from gptneo_onnx.models.interruption import renaming
from gptneo_onnx.models.staging import OLD

_CURRENT_FOLDER = -100  # AT_FDCWD of Linux
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
# What a file system or a kernel answers that cannot swap.
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV)


def replace_directory(new: Path, old: Path) -> None:
    """Put one directory where another is; both are on one file system.

    `new` is a staging_directory(), which removes the old one at its end. Where the system cannot
    swap names in one step (Windows, some network disks), they are renamed one after the other; if
    the process is killed in between, remove_leftovers() gives `old` its name back.

    Raises:
        OSError: they cannot be renamed; both are as they were.
    """
    with renaming():
        if not _swapped(new, old):
            _rename_in_turn(new, old)


def _swapped(first: Path, second: Path) -> bool:
    """Swap in one step; return False where that cannot be had."""
    paths = os.fsencode(first.absolute()), os.fsencode(second.absolute())
    if sys.platform == "win32":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        status = library.renameat2(_CURRENT_FOLDER, paths[0], _CURRENT_FOLDER, paths[1], _EXCHANGE)
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        status = library.renamex_np(*paths, _EXCHANGE)
    else:
        return False
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _rename_in_turn(new: Path, old: Path) -> None:
    """Move the old directory aside first, and back if the new one cannot take its place."""
    aside = new.parent / OLD
    try:
        old.rename(aside)
        new.rename(old)
    except BaseException:
        if aside.exists() and not old.exists():
            aside.rename(old)
        raise
