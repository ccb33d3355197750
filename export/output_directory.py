"""Atomic directory writes: write to a temporary sibling, then rename it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gptneo_onnx.export import transformers_js
from gptneo_onnx.export.replace_directory import replace_directory
from gptneo_onnx.models.errors import ExportError, InputError, ModelFileError, shown
from gptneo_onnx.models.interruption import renaming
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import MANIFEST_FILE
from gptneo_onnx.models.staging import staging_directory


@contextmanager
def atomic_directory(out: Path) -> Iterator[Path]:
    """Yield a temporary directory to write into; rename it to `out` if the block succeeds.

    If the block fails (an error, a full disk, Ctrl-C), the directory is removed and whatever was at
    `out` stays as it was. Only an empty directory or an earlier export is ever replaced.

    Raises:
        InputError: something else is at `out`.
        ExportError: the disk is full, `out` cannot be written, or another process writes it.
    """
    out = out.absolute()
    check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with staging_directory(out) as partial:
            yield partial
            partial.chmod(0o755)  # whatever the user's umask says
            _sync(partial)
            _replace(partial, out)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise write_error(out, error) from error


def check_replaceable(out: Path) -> None:
    """Raise InputError unless `out` is missing, empty or an earlier export."""
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise InputError(f"{out} exists and is not a directory; name another")
    try:
        present = {path.name for path in out.iterdir()}
    except OSError as error:
        raise write_error(out, error) from error
    if transformers_js.is_export(out):
        return
    if present and MANIFEST_FILE not in present:
        raise InputError(f"{out} is not empty and not an exported model; name another directory")
    if strangers := present - _files_of_export(out):
        raise InputError(
            f"{out} holds {shown(min(strangers))}, which is no part of the exported model there "
            "and would be lost; move it away or name another directory"
        )


def _files_of_export(out: Path) -> set[str]:
    """Return the names of the manifest at `out` and of the files that it lists.

    Any version of the manifest will do: exporting again is how a directory is updated.
    """
    try:
        files = read_json_object(out / MANIFEST_FILE).get("files")
    except ModelFileError:
        files = None
    return {MANIFEST_FILE, *(files if isinstance(files, dict) else ())}


def write_error(out: Path, error: OSError) -> ExportError:
    """Return the error to raise where an export cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExportError(
            f"{out} cannot be written: the disk is full; free some space or name a directory on "
            "another disk"
        )
    reason = error.strerror or str(error)
    return ExportError(f"{out} cannot be written: {reason}; name another directory")


def _sync(directory: Path) -> None:
    """Flush the files to the disk before the rename that makes them visible."""
    for path in filter(Path.is_file, directory.rglob("*")):
        with path.open("r+b") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())


def _replace(partial: Path, out: Path) -> None:
    """Rename partial to out, in place of an earlier export."""
    if out.exists():
        replace_directory(partial, out)
    else:
        with renaming():
            partial.rename(out)
