"""The command `gptneo-onnx completion`: a script that completes command lines in a shell."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import MissingDependencyError
from gptneo_onnx.runtime.cli.parser import add_examples

_SHELLS = ("bash", "zsh", "fish")
# What arguments by these names are completed with; paths by other names are files.
_DIRECTORIES = ("[MODEL] [PROMPT]", "CHECKPOINT", "DIR", "MODEL", "OUT", "TOKENIZER")
_FILES = ("FILE",)
_VALUES = {"DEVICE": ("auto", "cpu", "cuda")}


def add_command(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    command = commands.add_parser(
        "completion",
        help="print a script for completion in bash, zsh or fish",
        description="Print a script with which a shell completes commands, options and values "
        "(needs the completion extra).",
    )
    command.add_argument(
        "shell", choices=_SHELLS, metavar="SHELL", help=f"one of {', '.join(_SHELLS)}"
    )
    add_examples(
        command,
        "completion bash > ~/.local/share/bash-completion/completions/gptneo-onnx",
        'completion zsh > "${fpath[1]}/_gptneo-onnx"',
        "completion fish > ~/.config/fish/completions/gptneo-onnx.fish",
    )
    command.set_defaults(run=run_completion, needs_onnx_runtime=False)


def run_completion(options: argparse.Namespace) -> None:
    """Print the script, made from the parser of all commands.

    Raises:
        MissingDependencyError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise MissingDependencyError(
            "completion needs shtab: pip install 'gptneo-onnx[completion]'"
        ) from error
    for action in _actions(options.program):
        values = getattr(action.type, "choices", None) or _VALUES.get(str(action.metavar))
        if action.choices is not None or action.nargs == 0:
            continue
        if values is not None:
            action.complete = shtab.cmd(f"printf '%s\\n' {' '.join(values)}")  # type: ignore[attr-defined]
        elif action.metavar in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _FILES or action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(options.program, options.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in {id(each): each for each in action.choices.values()}.values():
                yield from _actions(command)
