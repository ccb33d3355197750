"""Replaces a directory in one step: at every moment its name leads to a whole one."""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

_CURRENT_FOLDER = -100  # AT_FDCWD of Linux
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
# What a file system or a kernel answers that cannot swap.
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV)


def replace_directory(new: Path, old: Path) -> None:
    """Put one directory where another is, and remove the other; both are on one file system.

    Where the system cannot swap names in one step (Windows, some network disks), they are renamed
    one after the other: a process that is killed in between leaves `old` under a hidden name.

    Raises:
        OSError: they cannot be renamed; both are as they were.
    """
    if _swapped(new, old):
        shutil.rmtree(new, ignore_errors=True)
    else:
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
    aside = Path(tempfile.mkdtemp(prefix=f".{old.name}.replaced-", dir=old.parent))
    earlier = aside / old.name
    try:
        old.rename(earlier)
        new.rename(old)
    except BaseException:
        if earlier.exists() and not old.exists():
            earlier.rename(old)
        raise
    finally:
        if old.exists():
            shutil.rmtree(aside, ignore_errors=True)
