"""What the program says on standard error: errors, and what the user should know."""

import sys
from typing import Any

from gptneo_onnx.models.errors import printable
from gptneo_onnx.runtime.cli.colours import RED, YELLOW, coloured
from gptneo_onnx.runtime.cli.terminal import wrapped

PROGRAM = "gptneo-onnx"
BAD_INPUT = 2
_LONGEST = 2000


def complain(message: str) -> int:
    """Print an error as one line, which a terminal shows as several; return the exit status."""
    _say("error:", RED, message)
    return BAD_INPUT


def reason_of(error: OSError) -> str:
    """Return what an error of the system says, and of which file."""
    if isinstance(error, FileNotFoundError) and error.filename is None:  # from os.getcwd()
        return "the current folder was removed; change to another one"
    return str(error)


def say_interrupted() -> None:
    """Print that Ctrl-C ended the command."""
    print(f"{PROGRAM}: {coloured('interrupted', RED, sys.stderr)}", file=sys.stderr)


def show_warning(message: Warning | str, *place: Any, **details: Any) -> None:
    """Print a warning as one line: it takes the place of warnings.showwarning."""
    _say("warning:", YELLOW, str(message))


def _say(kind: str, colour: str, message: str) -> None:
    text = printable(" ".join(message.split()), _LONGEST)
    line = wrapped(f"{PROGRAM}: {kind} {text}", sys.stderr)
    print(line.replace(kind, coloured(kind, colour, sys.stderr), 1), file=sys.stderr)


def notice(line: str) -> None:
    """Print what the user should know, although the command goes on."""
    text = wrapped(printable(line, _LONGEST), sys.stderr)
    print(coloured(text, YELLOW, sys.stderr), file=sys.stderr)
