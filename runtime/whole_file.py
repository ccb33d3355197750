"""Files that are there once they are whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gptneo_onnx.models.errors import InputError


def check_writable(path: Path) -> None:
    """Raise InputError if a file cannot be made there: before the work that it is made for."""
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: {path.parent} is no directory; name another")
    if path.is_dir():
        raise InputError(f"{path} is a directory; name a file")


@contextmanager
def whole_file(path: Path, mode: str) -> Iterator[IO[Any]]:
    """Open a file for writing (mode w or wb) beside its place, and put it there at the end.

    Raises:
        InputError: it cannot be written; what was there before stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another") from error
    finally:
        partial.unlink(missing_ok=True)
