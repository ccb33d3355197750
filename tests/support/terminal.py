"""Programs on a real pseudo-terminal: keys go in, and what is shown comes out."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

CTRL_A, CTRL_C, CTRL_D, TAB = "\x01", "\x03", "\x04", "\t"
UP = "\x1b[A"

_LIMIT_S = 120.0  # a fault must not hang the tests
# Makes the terminal on standard input the one that Ctrl-C comes from, then becomes the program.
_LAUNCH = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
# What readline switches on around a prompt, and the colours.
_MODES = re.compile(rb"\x1b\[(?:\?2004[hl]|[0-9;]*m)")

# What generate shows while it loads a model for more than a second, and then erases.
_LOADING = re.compile(r"(?:\r[|/\\-] loading [^\r]*)+\r *\r")

# What would decide about colours or widths in the environment of the tests themselves.
_DECIDING = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS")


class Terminal:
    """Runs `gptneo-onnx` with these arguments.

    Args:
        arguments: of the command line.
        columns: the terminal's width.
        variables: environment variables besides those of the tests.
        program: what runs instead.
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        columns: int = 80,
        variables: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "gptneo_onnx.runtime.cli.main"),
    ) -> None:
        self._master, slave = os.openpty()
        self.resize(columns)
        environment = {**os.environ, "TERM": "xterm", "INPUTRC": os.devnull, **(variables or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, sys.executable, *program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=environment,
        )
        os.close(slave)
        self._rest = b""
        self._deadline = time.monotonic() + _LIMIT_S

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def resize(self, columns: int) -> None:
        """Give the terminal another width."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def send(self, keys: str) -> None:
        """Type keys."""
        os.write(self._master, keys.encode())

    def interrupt_prompt(self) -> None:
        """Type Ctrl-C at a prompt, once the program waits there.

        Python's readline misses a signal that comes just before it begins to wait.
        """
        status = Path(f"/proc/{self._process.pid}/stat")
        while status.read_text().rpartition(") ")[2][0] != "S":
            assert time.monotonic() < self._deadline, "the program does not wait for input"
        self.send(CTRL_C)

    def enter(self, line: str) -> None:
        """Type a line, and wait until it is shown: then the program has read it."""
        self.send(f"{line}\r")
        self.wait_for(f"{line}\r\n" if line else "\r\n")

    def wait_for(self, text: str) -> str:
        """Wait until a text is shown; return what is shown before it since the last call."""
        wanted = text.encode()
        while wanted not in self._rest:
            more = self._read()
            assert more, f"{text!r} was not shown: {self._rest!r}"
            self._rest = _MODES.sub(b"", self._rest + more)
        before, _, self._rest = self._rest.partition(wanted)
        return before.decode()

    def end(self) -> tuple[str, int]:
        """Return what is still shown, and the program's exit status."""
        while more := self._read():
            self._rest = _MODES.sub(b"", self._rest + more)
        shown = _LOADING.sub("", self._rest.decode())
        return shown, self._process.wait(timeout=_LIMIT_S)

    def _read(self) -> bytes:
        """Return more of what is shown; nothing at the end."""
        ready, _, _ = select.select([self._master], [], [], self._deadline - time.monotonic())
        assert ready, f"nothing more was shown: {self._rest!r}"
        try:
            return os.read(self._master, 65536)
        except OSError:  # Linux's way to say that the program has closed the terminal
            return b""


def run_in_terminal(
    command: Sequence[str], environment: Mapping[str, str] | None = None, width: int = 80
) -> tuple[int, str]:
    """Return the exit status of a command, and what it wrote to the terminal, lines ended by LF."""
    outside, inside = os.openpty()
    termios.tcsetwinsize(inside, (24, width))
    kept = {name: value for name, value in os.environ.items() if name not in _DECIDING}
    settings = kept | {"TERM": "xterm", "COLUMNS": str(width)} | dict(environment or {})
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=inside, stderr=inside, env=settings
    ) as process:
        os.close(inside)
        written = b""
        while True:
            try:
                piece = os.read(outside, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            written += piece
        status = process.wait(timeout=60)
    os.close(outside)
    return status, written.decode().replace("\r\n", "\n")
