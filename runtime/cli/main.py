"""The command line, gptneo-onnx: runs one command, and turns what goes wrong into one line."""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from gptneo_onnx.models.errors import GPTNeoOnnxError, MissingDependencyError
from gptneo_onnx.runtime.cli import (
    cache,
    check,
    classify,
    compare,
    completion,
    doctor,
    embed,
    export,
    generate,
    info,
    lm_eval,
    perplexity,
    serve,
    set_tokenizer,
    show_help,
)
from gptneo_onnx.runtime.cli.colours import coloured_help
from gptneo_onnx.runtime.cli.messages import (
    BAD_INPUT,
    PROGRAM,
    complain,
    reason_of,
    say_interrupted,
    show_warning,
)
from gptneo_onnx.runtime.cli.parser import Parser, add_examples
from gptneo_onnx.runtime.cli.signals import EndingBySignals, end_process
from gptneo_onnx.runtime.cli.streams import (
    discard_output,
    flush_output,
    output_failure,
    prepare_streams,
)
from gptneo_onnx.runtime.onnx_runtime import require_onnx_runtime, silence_onnx_runtime

INTERRUPTED = 130
COMMAND = "command"

# In the order of --help, by what people want. Each module has add_command(), which adds its parser
# and says what to run.
GROUPS = {
    "make a model": (export, check, set_tokenizer),
    "use a model": (generate, serve, embed, classify),
    "measure a model": (perplexity, compare, lm_eval),
    "look": (info, cache, doctor, show_help, completion),
}


def run_program() -> int:
    """Run main() as the whole process, which a signal that ends the command ends too."""
    ending = EndingBySignals()
    try:
        return main(ending=ending)
    finally:
        end_process(ending.received)


def main(arguments: Sequence[str] | None = None, ending: EndingBySignals | None = None) -> int:
    """Run one command and return its exit status.

    The status is 0, 2 for bad input, 130 after an interruption, or the command's own: compare
    returns 1 if models diverge too much, generate 3 if a text is cut before its form is complete.

    Args:
        arguments: of the command line; those of the process by default.
        ending: learns of the signal that ended the command.

    Raises:
        SystemExit: after --help (0), for options that cannot be parsed or where ONNX Runtime is
            missing (2), after SIGTERM (143) and SIGHUP (129).
    """
    ending = ending or EndingBySignals()
    try:
        with ending:
            try:
                return _run(sys.argv[1:] if arguments is None else list(arguments))
            except KeyboardInterrupt:
                say_interrupted()
                return INTERRUPTED
    except KeyboardInterrupt:  # in the moment in which the command ended by itself
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    """Run one command; turn what goes wrong into one line."""
    prepare_streams()
    try:
        try:
            run = _parse(arguments)
        except SystemExit:  # --help and --version have printed
            flush_output()
            raise
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            status = run()
        flush_output()
        return status or 0
    except GPTNeoOnnxError as error:
        return complain(str(error))
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        discard_output()
        return 0
    except OSError as error:  # a full disk, a file that may not be read
        return complain(output_failure() or reason_of(error))
    except MemoryError as error:
        return complain(f"not enough memory: {error}")


def _parse(arguments: list[str]) -> Callable[[], int | None]:
    """Return the command that the arguments name, ready to run."""
    if not arguments:
        _show_short_help()
        raise SystemExit(BAD_INPUT)
    if arguments[0] == lm_eval.LM_EVAL and arguments[1:] not in (["--help"], ["-h"]):
        run = partial(lm_eval.run_lm_eval, arguments[1:])  # the harness parses its own options
    else:
        parser = build_parser()
        options = _options(parser, arguments)
        options.program = parser
        run = partial(options.run, options)
        if not getattr(options, "needs_onnx_runtime", True):
            return run
    try:
        require_onnx_runtime()
    except MissingDependencyError as error:  # no command can run, as if the options were wrong
        raise SystemExit(complain(str(error))) from error
    silence_onnx_runtime()
    return run


def _show_short_help() -> None:
    if sys.stderr is not None:
        text = build_parser().format_short_help()
        print(coloured_help(text, sys.stderr), end="", file=sys.stderr)


def _options(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of a command; options may stand between its positional arguments.

    argparse allows that only for a parser without sub-parsers: the command's own is asked.
    """
    command = _commands(parser).choices.get(arguments[0])
    if command is None:  # --help, --version, or an error
        first = arguments[0]
        known = any(option.startswith(first) for option in parser._option_string_actions)
        if first.startswith("-") and not known:
            parser.error(f"unrecognized arguments: {first}; COMMAND comes first, then its options")
        return parser.parse_args(arguments)
    options: argparse.Namespace = command.parse_intermixed_args(arguments[1:])
    return options


class _Program(Parser):
    """The parser of the program, whose help shows commands in groups.

    Attributes:
        groups: the names of commands, by the group's heading.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.groups: dict[str, list[str]] = {}

    def format_help(self) -> str:
        """Return the help, without colours."""
        return self._described([*self._optionals._group_actions], self.epilog)

    def format_short_help(self) -> str:
        """Return what is shown where no command is given."""
        return self._described([], f"{PROGRAM} help shows more, {PROGRAM} help COMMAND its options")

    def _described(self, options: list[argparse.Action], end: str | None) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        lines = {action.dest: action for action in _commands(self)._choices_actions}
        for title, names in self.groups.items():
            formatter.start_section(title)
            formatter.add_arguments([lines[name] for name in names])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments(options)
        formatter.end_section()
        formatter.add_text(end)
        return formatter.format_help()


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


def build_parser() -> _Program:
    """Return the parser of all commands."""
    parser = _Program(
        prog=PROGRAM,
        usage="%(prog)s COMMAND [OPTIONS]",
        description="Export GPT-Neo to ONNX, and generate text with it, without PyTorch.",
    )
    parser.add_argument("-V", "--version", action=_PrintVersion, nargs=0, help="print the version")
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", dest=COMMAND, prog=PROGRAM, parser_class=Parser
    )
    for title, modules in GROUPS.items():
        before = {*commands.choices}
        for module in modules:
            module.add_command(commands)
        parser.groups[title] = [name for name in commands.choices if name not in before]
    add_examples(
        parser,
        'generate "It is a truth"',
        "export EleutherAI/gpt-neo-125m gpt-neo-125m",
        'generate gpt-neo-125m "EleutherAI has" -n 50 --temperature 0',
    )
    parser.epilog = (
        f"{parser.epilog}\n\n{PROGRAM} help COMMAND shows a command's options. The documentation "
        "is in docs/ of the source; docs/command-line.md is about the commands."
    )
    return parser


def _commands(parser: argparse.ArgumentParser) -> Any:
    """Return the action that holds the commands' parsers."""
    [commands] = [action for action in parser._actions if action.dest == COMMAND]
    return commands


if __name__ == "__main__":
    sys.exit(run_program())
