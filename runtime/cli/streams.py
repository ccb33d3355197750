"""The program's standard streams: what is closed or full is told once, and never by a traceback."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

_STANDARD = 3


class _Stream:
    """Stands for a stream that it passes everything on to."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Output(_Stream):
    """Standard output that remembers what went wrong, since argparse passes over it.

    Attributes:
        failure: the first error.
    """

    failure: OSError | None = None

    def write(self, text: str) -> int:
        with self._remembering():
            return int(self._stream.write(text))

    def flush(self) -> None:
        with self._remembering():
            self._stream.flush()

    @contextlib.contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            raise


class _ErrorOutput(_Stream):
    """Standard error that nobody may be reading: what cannot be written is left out.

    Without it an error that is told to a full disk would become another error, with its traceback
    and another exit status.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class _Closed(io.StringIO):
    """A standard output that the caller closed: what was written is an error when it is flushed."""

    def flush(self) -> None:
        if self.tell():
            raise OSError(errno.EBADF, "it is closed")


def prepare_streams() -> None:
    """Make the standard streams such that no command needs to look after them.

    Descriptors that the caller closed are opened on nothing: otherwise the next file that is
    written would have the number of standard error, and get what libraries log there.
    """
    _fill_descriptors()
    if not isinstance(sys.stdout, _Output):
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that lacks a character shows its code; so does a name that is not UTF-8.
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout = _Output(sys.stdout or _Closed())
    if not isinstance(sys.stderr, _ErrorOutput):
        sys.stderr = _ErrorOutput(sys.stderr or io.StringIO())


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
        OSError: something that was written got lost.
    """
    sys.stdout.flush()
    if failure := getattr(sys.stdout, "failure", None):
        raise failure


def output_failure() -> str | None:
    """Return what went wrong with standard output, and leave nothing in it; None if nothing did."""
    failure = getattr(sys.stdout, "failure", None)
    if failure is None:
        return None
    discard_output()
    return f"standard output cannot be written: {failure.strerror or failure}"


def discard_output() -> None:
    """Send what is left of standard output nowhere, or Python would complain when it exits."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stdout = _Output(io.StringIO())
