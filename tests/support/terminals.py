"""Runs a command in a real pseudo-terminal."""

import os
import subprocess
import termios
from collections.abc import Mapping, Sequence

# What would decide about colours or widths in the environment of the tests themselves.
_DECIDING = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS")


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
