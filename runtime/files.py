"""Files that are there once they are whole."""

import secrets
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
def whole_file(path: Path, mode: str) -> Iterator[IO[Any]]:
    """Open a file for writing beside its place, and put it there at the end; links stay links.

    Args:
        path: of the file.
        mode: w or wb.

    Raises:
        InputError: it cannot be written; what was there before stays.
    """
    try:
        with replacement(path.resolve(), mode) as file:
            yield file
    except OSError as error:
        raise _cannot_be_written(path, error) from error


@contextmanager
def replacement(path: Path, mode: str) -> Iterator[IO[Any]]:
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
