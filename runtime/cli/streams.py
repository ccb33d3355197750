"""The program's standard streams: what is closed or full is told once, and never by a traceback."""

import contextlib
import errno
import io
import os
import sys
from typing import Any

_STANDARD = 3


class _ErrorOutput(io.TextIOBase):
    """Standard error that nobody may be reading: what cannot be written is left out.

    Without it an error that is told to a full disk would become another error, with its traceback
    and another exit status.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _ClosedOutput(io.TextIOBase):
    """Standard output that the caller closed: what is written is an error when it is flushed."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._has_lost = False

    def write(self, text: str) -> int:
        self._has_lost = self._has_lost or bool(text)
        return len(text)

    def flush(self) -> None:
        if self._has_lost:
            raise OSError(errno.EBADF, "it is closed")


def prepare_streams() -> None:
    """Make the standard streams such that no command needs to look after them.

    Descriptors that the caller closed are opened on nothing: otherwise the next file that is
    written would have the number of standard error, and get what libraries log there.
    """
    _fill_descriptors()
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()  # type: ignore[assignment]  # as print() needs it
    elif isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a character shows its code; so does a name that is not UTF-8.
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = io.StringIO()  # type: ignore[assignment]
    elif isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _ErrorOutput(sys.stderr)  # type: ignore[assignment]


def _fill_descriptors() -> None:
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor >= _STANDARD:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)


def flush_output() -> None:
    """Write what is left of standard output.

    Raises:
        OSError: it cannot be written.
    """
    sys.stdout.flush()


def output_failure() -> str | None:
    """Return what is wrong with standard output; None if nothing is. Then nothing is left in it."""
    try:
        flush_output()
    except OSError as error:
        discard_output()
        return f"standard output cannot be written: {error.strerror or error}"
    return None


def discard_output() -> None:
    """Send what is left of standard output nowhere, or Python would complain when it exits."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(sys.stdout, _ClosedOutput):
        sys.stdout = io.StringIO()
