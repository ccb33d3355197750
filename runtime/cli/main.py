"""The command line, gptneo-onnx: runs one command, and turns what goes wrong into one line."""

import argparse
import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from gptneo_onnx.models.errors import GPTNeoOnnxError, MissingDependencyError
from gptneo_onnx.runtime.cli import (
    cache,
    check,
    classify,
    compare,
    doctor,
    embed,
    export,
    generate,
    info,
    lm_eval,
    perplexity,
    set_tokenizer,
)
from gptneo_onnx.runtime.onnx_runtime import require_onnx_runtime

PROGRAM = "gptneo-onnx"
BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143
COMMAND = "command"

# In the order of --help. Each has add_command(), which adds its parser and says what to run.
COMMANDS = (
    export,
    check,
    set_tokenizer,
    generate,
    compare,
    embed,
    classify,
    perplexity,
    lm_eval,
    info,
    cache,
    doctor,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    The status is 0, 2 for bad input, 130 after an interruption, or the command's own: compare
    returns 1 if models diverge too much.

    Raises:
        SystemExit: after --help (0), for options that cannot be parsed or where ONNX Runtime is
            missing (2), and after SIGTERM (143).
    """
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a character shows its code
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        run = _parse(sys.argv[1:] if arguments is None else list(arguments))
        status = run()
        if sys.stdout is not None:  # it may have been closed
            sys.stdout.flush()
        return status or 0
    except GPTNeoOnnxError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        _discard_output()
        return 0
    except OSError as error:  # a full disk, a file that may not be read
        _discard_output()
        return _complain(str(error))
    except MemoryError as error:
        return _complain(f"not enough memory: {error}")


def _parse(arguments: list[str]) -> Callable[[], int | None]:
    """Return the command that the arguments name, ready to run."""
    if arguments[:1] == [lm_eval.LM_EVAL]:  # the harness parses its own options
        run = partial(lm_eval.run_lm_eval, arguments[1:])
    else:
        options = _options(build_parser(), arguments)
        run = partial(options.run, options)
        if options.run is doctor.run_doctor:  # which says what is missing
            return run
    try:
        require_onnx_runtime()
    except MissingDependencyError as error:  # no command can run, as if the options were wrong
        raise SystemExit(_complain(str(error))) from error
    return run


def _options(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of a command; options may stand between its positional arguments.

    argparse allows that only for a parser without sub-parsers: the command's own is asked.
    """
    [commands] = [action for action in parser._actions if action.dest == COMMAND]
    assert isinstance(commands.choices, dict)
    command = commands.choices.get(arguments[0]) if arguments else None
    if command is None:  # --help, --version, or an error
        return parser.parse_args(arguments)
    options: argparse.Namespace = command.parse_intermixed_args(arguments[1:])
    return options


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog=PROGRAM, description="GPT-Neo on ONNX Runtime.")
    parser.add_argument("-V", "--version", action=_PrintVersion, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest=COMMAND)
    for command in COMMANDS:
        command.add_command(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, as main() reports all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(_complain(f"{message}{self._meant(message)}; see {self.prog} --help"))

    def _meant(self, message: str) -> str:
        """Return the options and values that a message's unknown words come closest to."""
        words = re.findall(r"(?:arguments:|invalid choice:) ['\"]?([\w-]+)", message)
        choices = message.partition("(choose from")[2]
        known = re.findall(r"[\w-]+", choices) if choices else [*self._option_string_actions]
        close = [match for word in words for match in get_close_matches(word, known, n=1)]
        return f"; did you mean {close[0]}?" if close else ""


class _PrintVersion(argparse.Action):
    """Prints the version of the installed package, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any) -> NoReturn:
        from importlib import metadata

        try:
            version = metadata.version(PROGRAM)
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(PROGRAM, version)
        parser.exit()


def _complain(message: str) -> int:
    print(f"{PROGRAM}: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _discard_output() -> None:
    """Send what is left of standard output nowhere, or Python would complain when it exits."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)  # unwinds, so that a half-written export is removed


if __name__ == "__main__":
    sys.exit(main())
