"""The hidden directory in which an export is written before it gets its name.

`.NAME.partial-XXXXXXXX` lies beside the directory NAME that is made in it, and has three entries:

    owner.json   the process that writes, which holds the file's lock as long as it runs
    new          the directory that gets the name once it is whole
    old          the one that had the name until then, where the two cannot be swapped in one step

The system frees a lock however a process ends. So what a killed process left is told from what a
running one writes, and from a directory that only has such a name.
"""

import json
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ExportError, GPTNeoOnnxError
from gptneo_onnx.models.file_lock import file_lock, is_locked, take_lock
from gptneo_onnx.models.interruption import half_written
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import partial_prefix
from gptneo_onnx.models.units import readable_size

OWNER, NEW, OLD = "owner.json", "new", "old"
_PROGRAM = "gptneo-onnx"
_MAX_OWNER_BYTES = 4096


@dataclass(frozen=True)
class Leftover:
    """What a killed process had written.

    Attributes:
        path: where it was.
        size: the bytes that its removal freed; 0 if nothing had been written.
        restored: the directory that got its name back, which the process was about to replace.
    """

    path: Path
    size: int
    restored: Path | None = None

    def __str__(self) -> str:
        """Say in a line what was done."""
        removed = f"removed {self.path} ({readable_size(self.size)}), which a killed process left"
        if self.restored is None:
            return removed
        return f"{removed}, and put back {self.restored}, which it was about to replace"


@contextmanager
def staging_directory(out: Path) -> Iterator[Path]:
    """Yield an empty directory that may be renamed `out`; what is not renamed is removed.

    It is the entry `new` of a directory of this call's own; replace_directory.py may add `old`.

    Raises:
        ExportError: another process is writing `out`.
        OSError: the directory cannot be made.
    """
    area = out.parent / f"{partial_prefix(out.name)}{secrets.token_hex(4)}"
    owner: list[int] = []
    with half_written(partial(_remove, area, out, owner)):
        with file_lock(out.parent / f"{partial_prefix(out.name)}lock"):
            _check_alone(out)
            area.mkdir(mode=0o700)
            _own(area, owner)
        new = area / NEW
        new.mkdir()
        yield new


def remove_leftovers(folder: Path) -> list[Leftover]:
    """Remove what killed processes left of the exports that they were writing into a folder.

    Of every export there: nobody else removes them, and they are large. A directory that a process
    was about to replace gets its name back if the new one had not got it yet.
    """
    removed = []
    with suppress(OSError):  # a folder that cannot be listed
        for area in sorted(folder.glob(f"{partial_prefix('*')}*")):
            if _is_abandoned(area) and (leftover := _removed(area)) is not None:
                removed.append(leftover)
    return removed


def _removed(area: Path) -> Leftover | None:
    """Remove what a process left; None if that may not be done."""
    out = area.parent / _name(area)
    size, is_restored = _freed_by(area), _put_back(area, out)
    shutil.rmtree(area, ignore_errors=True)
    if area.exists() and not is_restored:
        return None
    return Leftover(area, size, out if is_restored else None)


def _name(area: Path) -> str:
    """Return the name of the directory that is made in an area."""
    return area.name[1:].rpartition(partial_prefix("")[1:])[0]


def _freed_by(area: Path) -> int:
    """Return the bytes of files that have no other name: set-tokenizer links those it keeps."""
    found = (path.lstat() for path in area.rglob("*") if path.is_file() and path.name != OWNER)
    return sum(status.st_size for status in found if status.st_nlink == 1)


def _put_back(area: Path, out: Path) -> bool:
    """Give the directory that was to be replaced its name again if nothing else has it."""
    # os.path because Path.is_dir() raises for names that are too long.
    if not os.path.isdir(area / OLD) or os.path.lexists(out):  # noqa: PTH112
        return False
    try:
        (area / OLD).rename(out)
    except OSError:
        return False
    return True


def _remove(area: Path, out: Path, owner: list[int]) -> None:
    """Remove an area of this process."""
    _put_back(area, out)
    if sys.platform == "win32":  # an open file cannot be removed there
        _close(owner)
    shutil.rmtree(area, ignore_errors=True)
    _close(owner)


def _close(owner: list[int]) -> None:
    while owner:
        os.close(owner.pop())


def _own(area: Path, owner: list[int]) -> None:
    """Write who writes in an area, and add to `owner` the descriptor that holds the lock."""
    path = area / OWNER
    owner.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    take_lock(owner[0], path)
    values = {
        "program": _PROGRAM,
        "process": os.getpid(),
        "started": _start_of(os.getpid()),
        "machine": platform.node(),
    }
    os.write(owner[0], json.dumps(values).encode())  # last: without it the lock does not count


def _check_alone(out: Path) -> None:
    """Raise ExportError if another process, or another thread of this one, writes `out`."""
    for area in out.parent.glob(f"{partial_prefix('*')}*"):
        if _name(area) == out.name and _owner(area) is not None and not _is_abandoned(area):
            raise ExportError(
                f"{out} is being written by another process; wait until it is done, or name "
                "another directory"
            )


def _owner(area: Path) -> dict[str, Any] | None:
    """Return who wrote a directory; None if it is no area of staging_directory()."""
    path = area / OWNER
    try:
        if area.is_symlink() or path.is_symlink() or not path.is_file():
            return None
        values = read_json_object(path, max_bytes=_MAX_OWNER_BYTES)
    except (OSError, GPTNeoOnnxError):
        return None
    return values if values.get("program") == _PROGRAM else None


def _is_abandoned(area: Path) -> bool:
    """Return whether a directory is an area whose process has ended."""
    owner = _owner(area)
    if owner is None:
        return False
    try:
        locked = is_locked(area / OWNER)
    except OSError:  # it is gone, or another user's
        return False
    return not (_runs(owner) if locked is None else locked)


def _runs(owner: dict[str, Any]) -> bool:
    """Return whether a process runs, where there are no locks; True where that is not known."""
    process = owner.get("process")
    if type(process) is not int or owner.get("machine") != platform.node():
        return True
    if sys.platform == "win32":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no process's number
        return True
    return owner.get("started") in (None, _start_of(process))


def _start_of(process: int) -> str | None:
    """Return when a process started, in the system's own clock; None where that is not known."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name comes second, in parentheses, and may have spaces; the time is the 22nd field.
    fields = status.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None
