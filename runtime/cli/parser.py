"""The parsers of the commands: their help, spellings of options, and errors in one line."""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from gptneo_onnx.runtime.cli.colours import coloured_help
from gptneo_onnx.runtime.cli.messages import PROGRAM, complain
from gptneo_onnx.runtime.cli.other_names import name_here

# Longer lines are hard to read.
_WIDEST_HELP = 98
_HELP_COLUMN = 30


class Parser(argparse.ArgumentParser):
    """A parser whose options may be written with underscores, as arguments in Python are.

    Its help shows the options by groups, those without a group last.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", HelpFormatter)
        if sys.version_info >= (3, 14):  # argparse itself colours its help there
            settings["color"] = False
        super().__init__(**settings)
        self._positionals.title = "arguments"
        self._optionals.title = "other options"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, after underscores in the names of options became dashes."""
        return super().parse_known_args(self._with_dashes(args), namespace)

    def parse_known_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, after underscores in the names of options became dashes."""
        return super().parse_known_intermixed_args(self._with_dashes(args), namespace)

    def _with_dashes(self, arguments: Sequence[str] | None) -> list[str]:
        words = [*(sys.argv[1:] if arguments is None else arguments)]
        for place, word in enumerate(words):
            if word == "--":
                break
            name, sign, value = word.partition("=")
            dashed = name.replace("_", "-")
            # The beginning of an option's name will do, as for argparse.
            known = (each.startswith(dashed) for each in self._option_string_actions)
            if name.startswith("--") and dashed != name and any(known):
                words[place] = dashed + sign + value
        return words

    def format_help(self) -> str:
        """Return the help, without colours."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, [])
        formatter.add_text(self.description)
        groups = [group for group in self._action_groups if group is not self._optionals]
        for group in (*groups, self._optionals):
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def print_help(self, file: Any = None) -> None:
        """Print the help, on a terminal in colours."""
        stream = sys.stdout if file is None else file
        self._print_message(coloured_help(self.format_help(), stream), stream)

    def error(self, message: str) -> NoReturn:
        """Report an error as main() reports all others, and end with status 2."""
        self.exit(complain(f"{message}{self._meant(message)}; see {self.prog} --help"))

    def _meant(self, message: str) -> str:
        """Return the options and values that a message's unknown words come closest to."""
        words = re.findall(r"(?:arguments:|invalid choice:) ['\"]?([\w-]+)", message)
        choices = message.partition("(choose from")[2]
        options = [*self._option_string_actions]
        known = re.findall(r"[\w-]+", choices) if choices else options
        for word in words:
            if name := name_here(word, {*known, *options}):
                return f"; did you mean {name}?"
            if close := get_close_matches(word, known, n=1):
                return f"; did you mean {close[0]}?"
        return ""


class HelpFormatter(argparse.HelpFormatter):
    """Shows a short usage, an option's value once, and indented lines of a text as they are."""

    def __init__(self, prog: str, **settings: Any) -> None:
        width = min(shutil.get_terminal_size().columns - 2, _WIDEST_HELP)
        super().__init__(prog, max_help_position=_HELP_COLUMN, width=width, **settings)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Any,
        prefix: str | None = None,
    ) -> None:
        """Add positional arguments and required options; [OPTIONS] stands for the others."""
        if usage is None:
            actions = [*actions]
            words = [
                self._format_args(action, str(action.metavar))
                for action in actions
                if not action.option_strings
            ]
            words += [
                f"{action.option_strings[-1]} {self._format_args(action, str(action.metavar))}"
                for action in actions
                if action.option_strings and action.required
            ]
            usage = " ".join(["%(prog)s", *words, "[OPTIONS]"])
        super().add_usage(usage, [], [], prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap lines, but keep those that are indented: examples, to be copied."""
        return "\n".join(
            line
            if line.startswith(" ")
            else textwrap.fill(
                line,
                width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
            for line in text.splitlines()
        )


def add_examples(command: argparse.ArgumentParser, *lines: str) -> None:
    """Show command lines at the end of a command's help, each given without the program's name."""
    command.epilog = "\n".join(["examples:", *(f"  {PROGRAM} {line}" for line in lines)])
