"""The command `gptneo-onnx help`: the help of the program, or of a command."""

import argparse
from typing import Any

from gptneo_onnx.runtime.cli.parser import add_examples


def add_command(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    command = commands.add_parser(
        "help",
        help="show this list, or the options of a command",
        description="Show the list of commands, or the options of one, as --help does.",
    )
    command.add_argument(
        "topic",
        nargs="?",
        metavar="COMMAND",
        choices=commands.choices.keys(),  # commands that are added later are among them
        help="the command to describe (default: all, a line for each)",
    )
    add_examples(command, "help", "help generate")
    command.set_defaults(run=run_help, needs_onnx_runtime=False)


def run_help(options: argparse.Namespace) -> None:
    """Print the help of the command that is named, or of the program."""
    program: argparse.ArgumentParser = options.program
    if options.topic is None:
        program.print_help()
        return
    [commands] = [
        action for action in program._actions if isinstance(action, argparse._SubParsersAction)
    ]
    commands.choices[options.topic].print_help()
