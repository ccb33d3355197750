"""An exported directory appears whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gptneo_onnx.models.errors import ExportError, InputError
from gptneo_onnx.models.manifest import MANIFEST_FILE


@contextmanager
def whole_directory(out: Path) -> Iterator[Path]:
    """A temporary sibling of `out` to write into, renamed to `out` when the block ends well.

    If it does not end well (an error, a full disk, Ctrl-C), the sibling is removed and whatever was
    at `out` stays as it was. Only an empty directory or an earlier export is ever replaced.

    Raises:
        InputError: something else is at `out`.
        ExportError: the disk is full or `out` cannot be written.
    """
    out = out.absolute()
    check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror}") from error
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private
        _sync(partial)
        _replace(partial, out)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(out.parent).free
            raise ExportError(
                f"the disk is full: {out.parent} has {free // 2**20} MiB free; nothing was written"
            ) from error
        raise ExportError(f"{out} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Raise InputError if `out` holds anything but an earlier export."""
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise InputError(f"{out} exists and is not a directory; name another")
    if any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise InputError(f"{out} is not empty and not an exported model; name another directory")


def _sync(directory: Path) -> None:
    """Have the files on the disk before the rename that makes them visible."""
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _replace(partial: Path, out: Path) -> None:
    """Rename partial to out; an earlier export steps aside first and comes back if that fails."""
    if not out.exists():
        partial.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.replaced-", dir=out.parent))
    out.rename(aside / out.name)
    try:
        partial.rename(out)
    except BaseException:
        (aside / out.name).rename(out)
        raise
    finally:
        if out.exists():
            shutil.rmtree(aside, ignore_errors=True)
