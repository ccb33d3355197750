"""Reads what a user types: with editing keys, history and Tab where the platform has readline."""

import contextlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.history import MAX_ENTRIES, History, history_file
from gptneo_onnx.runtime.cli.terminal import is_terminal

PROMPT, MORE_PROMPT = "> ", "... "
QUOTES = '"""'

# Given the line up to the cursor: the words that its last word can become.
Completer = Callable[[str], list[str]]


class Entry(NamedTuple):
    """What a user typed.

    Attributes:
        text: one line, or several.
        is_quoted: whether it stood between triple quotes, so that it is no command.
    """

    text: str
    is_quoted: bool = False


class LineInput:
    """Standard input, an entry at a time.

    An entry is a line; several, if lines end with a backslash or stand between triple quotes.
    """

    def __init__(self, complete: Completer, keeps_history: bool) -> None:
        """
        Args:
            complete: says what Tab completes.
            keeps_history: whether earlier sessions' entries are there, and new ones are kept.
        """
        self.is_terminal = is_terminal(sys.stdin)
        self._is_edited = self.is_terminal and is_terminal(sys.stdout)
        self._readline = _readline() if self._is_edited else None
        self._history: History | None = None
        if self._readline is not None:
            _set_up_completion(self._readline, complete)
            if keeps_history:
                self._read_history(self._readline)

    def next_entry(self) -> Entry | None:
        """Return what the user types next; None at the end of the input.

        Raises:
            InputError: standard input is closed, or not UTF-8.
            KeyboardInterrupt: Ctrl-C was typed.
        """
        first = self._line(PROMPT)
        if first is None:
            return None
        is_quoted = first.startswith(QUOTES)
        text = self._quoted(first) if is_quoted else self._continued(first)
        if text.strip():
            self._remember(first if text == first else f"{QUOTES}{text}{QUOTES}")
        return Entry(text, is_quoted)

    def _quoted(self, first: str) -> str:
        """Return the text from the first line's triple quotes to those that end a line."""
        text = first.removeprefix(QUOTES)
        while not text.rstrip().endswith(QUOTES):
            line = self._line(MORE_PROMPT)
            if line is None:
                return text
            text += f"\n{line}"
        return text.rstrip().removesuffix(QUOTES)

    def _continued(self, first: str) -> str:
        """Return the line, and those after it as long as they end with a backslash."""
        lines = [first]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            line = self._line(MORE_PROMPT)
            if line is None:
                break
            lines.append(line)
        return "\n".join(lines)

    def _line(self, prompt: str) -> str | None:
        try:
            if self._is_edited:
                return input(prompt)
            if self.is_terminal and sys.stderr is not None:  # input() would write to the output
                print(prompt, end="", file=sys.stderr, flush=True)
            return input()
        except EOFError:
            return None
        except RuntimeError as error:  # sys.stdin is None
            raise InputError(
                "there is nothing to converse with: standard input is closed"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError("standard input is not UTF-8") from error

    def _read_history(self, readline: ModuleType) -> None:
        try:
            self._history = History(history_file())
        except (OSError, RuntimeError) as error:
            _say_not_kept(error)
            return
        for entry in self._history.entries:
            readline.add_history(entry)

    def _remember(self, typed: str) -> None:
        """Add an entry, as it can be typed again, to what the arrow keys recall."""
        readline = self._readline
        if readline is None or _last_entry(readline) == typed:
            return
        readline.add_history(typed)
        if self._history is not None:
            try:
                self._history.add(typed)
            except OSError as error:
                _say_not_kept(error)
                self._history = None


def _say_not_kept(error: Exception) -> None:
    reason = getattr(error, "strerror", None) or error
    print(f"[what you type is not kept for later sessions: {reason}]", file=sys.stderr)


def _readline() -> ModuleType | None:
    """Return the standard library's readline, which Windows and some builds lack."""
    with contextlib.suppress(ImportError):
        import readline

        readline.set_auto_history(False)
        readline.set_history_length(MAX_ENTRIES)
        return readline
    return None


def _last_entry(readline: ModuleType) -> str | None:
    last: str | None = readline.get_history_item(readline.get_current_history_length())
    return last


def _set_up_completion(readline: ModuleType, complete: Completer) -> None:
    def nth(word: str, number: int) -> str | None:
        line = readline.get_line_buffer()[: readline.get_endidx()]
        found = complete(line)
        return found[number] if number < len(found) else None

    readline.set_completer(nth)
    readline.set_completer_delims(" ")
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
