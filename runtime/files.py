"""Files and folders: atomic writes, whether a path can be written, and the user's cache folder."""

import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from gptneo_onnx.models.errors import InputError


def check_writable(path: Path, read: Iterable[Path] = ()) -> None:
    """Before the work that a file is made for.

    Args:
        path: of the file.
        read: files that the work reads, which must not be lost.

    Raises:
        InputError: it cannot be made there, or is one of those.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory; name a file")
        if path.exists() and any(each.exists() and path.samefile(each) for each in read):
            raise InputError(f"{path} is one of the texts, and would be lost; name another file")
        trial = _partial(path.resolve())
        with trial.open("x"):
            pass
        trial.unlink()
    except OSError as error:
        raise _cannot_be_written(path, error) from error


@contextmanager
def atomic_file(path: Path, mode: str) -> Iterator[IO[Any]]:
    """Open a file for writing beside its place, and put it there at the end; links stay links.

    Args:
        path: of the file.
        mode: w or wb.

    Raises:
        InputError: it cannot be written; what was there before stays.
    """
    try:
        with replace_atomically(path.resolve(), mode) as file:
            yield file
    except OSError as error:
        raise _cannot_be_written(path, error) from error


@contextmanager
def replace_atomically(path: Path, mode: str) -> Iterator[IO[Any]]:
    """The same without a word of its own on what goes wrong, and links are replaced.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    # A name of its own, and the permissions that any new file gets.
    partial = _partial(path)
    encoding, errors = (None, None) if "b" in mode else ("utf-8", "backslashreplace")
    try:
        with partial.open(mode.replace("w", "x"), encoding=encoding, errors=errors) as file:
            yield file
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """A name that nobody else has, in the same folder."""
    return path.parent / f".{secrets.token_hex(8)}.partial"


def _cannot_be_written(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be written: {error.strerror}; name another file")


def is_directory(path: str | Path) -> bool:
    """Path.is_dir(), which raises OSError for what is too long to be a path, as prompts may be."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def cache_folder() -> Path:
    """Return the user's cache folder, which may not exist yet.

    It is $GPTNEO_ONNX_CACHE, or gptneo-onnx below the platform's own.

    Raises:
        InputError: none is chosen, and the user has no home directory.
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
