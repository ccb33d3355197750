"""What the program says on standard error: errors, and what the user should know."""

import sys

from gptneo_onnx.runtime.cli.colours import RED, YELLOW, coloured
from gptneo_onnx.runtime.cli.terminal import wrapped

PROGRAM = "gptneo-onnx"
BAD_INPUT = 2


def complain(message: str) -> int:
    """Print an error as one line, which a terminal shows as several; return the exit status."""
    line = wrapped(f"{PROGRAM}: error: {' '.join(message.split())}", sys.stderr)
    error = coloured("error:", RED, sys.stderr)
    print(line.replace("error:", error, 1), file=sys.stderr)
    return BAD_INPUT


def notice(line: str) -> None:
    """Print what the user should know, although the command goes on."""
    print(coloured(wrapped(line, sys.stderr), YELLOW, sys.stderr), file=sys.stderr)
