"""Text on a terminal: wrapped at words, and with nothing in it that steers the terminal."""

import os
import re
import unicodedata
from typing import TextIO

from gptneo_onnx.runtime.cli.terminal import is_terminal

_DEFAULT_WIDTH = 80
_TAB = 8
_ZERO_WIDTH = ("Mn", "Me", "Cf")
_JOINER = "\u200d"  # makes one picture of two
# Control characters; characters that end a line or change the direction of what follows.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NAMES = {"\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v", "\a": "\\a"}


def visible(text: str, keep: str = "") -> str:
    """Return a text in which what would steer a terminal is an escape, such as \\x1b.

    Line feeds and tabs stay.

    Args:
        text: any text.
        keep: control characters that stay too.
    """
    return _STEERING.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def one_line(text: str) -> str:
    """Return a text as visible() does, with line feeds and tabs as escapes too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _escape(character: str) -> str:
    if character in _NAMES:
        return _NAMES[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def width(text: str) -> int:
    """Return how many columns of a terminal a text of visible characters takes."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if character < "\u0300":
        return 1
    if "\u1160" <= character <= "\u11ff":  # vowels and ends of Korean syllables, put on the first
        return 0
    if unicodedata.category(character) in _ZERO_WIDTH:
        return 0
    return 2 if _is_wide(character) else 1


def _is_wide(character: str) -> bool:
    return character >= "\u1100" and unicodedata.east_asian_width(character) in "WF"


def terminal_width(stream: TextIO) -> int:
    """Return how many columns the terminal has now; 80 where it does not say."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal
        columns = 0
    return columns or _DEFAULT_WIDTH


class TerminalText:
    """Writes text that comes in pieces to a terminal, and breaks lines between words.

    A word is shown once it is known where it ends, so that it never has to move to the next line.
    A word longer than a line is broken at the terminal's edge; so is a text of wide characters,
    which has no spaces.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._column = 0
        self._space = ""
        self._word = ""

    def write(self, text: str) -> None:
        """Show a piece of text; a word at its end is shown with a later piece, or by flush()."""
        line_width = terminal_width(self._stream)
        shown: list[str] = []
        for character in visible(text):
            if character == "\n":
                shown.append(self._placed_word(line_width) + "\n")
                self._column, self._space = 0, ""
            elif character in " \t":
                shown.append(self._placed_word(line_width))
                self._space += self._as_spaces(character)
            elif _is_wide(character) and not self._word.endswith(_JOINER):
                shown.append(self._placed_word(line_width))
                self._word = character
            else:
                self._word += character
                if len(self._word) >= line_width:
                    shown.append(self._placed_word(line_width))
        self._send("".join(shown))

    def flush(self) -> None:
        """Show the last word."""
        self._send(self._placed_word(terminal_width(self._stream)))

    def end(self) -> None:
        """Show the last word, and end the line."""
        self.flush()
        self._send("\n")
        self._column, self._space = 0, ""

    def _as_spaces(self, character: str) -> str:
        column = self._column + len(self._space)
        return " " if character == " " else " " * (_TAB - column % _TAB)

    def _placed_word(self, line_width: int) -> str:
        """Return what shows the word that is held back, with the space before it or a new line."""
        word, space = self._word, self._space
        if not word:
            return ""
        self._word = self._space = ""
        columns = width(word)
        is_broken = self._column > 0 and self._column + len(space) + columns > line_width
        if is_broken and columns:  # marks stay with the character that they belong to
            space, self._column = "\n", 0
        else:
            # An indentation that leaves no room for the word is shortened.
            space = space[: max(0, line_width - self._column - columns)]
            self._column += len(space)
        shown = [space]
        for character in word:
            step = _columns(character)
            if self._column and self._column + step > line_width and step:
                shown.append("\n")
                self._column = 0
            shown.append(character)
            self._column += step
        return "".join(shown)

    def _send(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()


def print_text(text: str, stream: TextIO) -> None:
    """Print a text and a line feed: wrapped and visible on a terminal, else exactly the text."""
    if not is_terminal(stream):
        print(text, file=stream, flush=True)
        return
    terminal = TerminalText(stream)
    terminal.write(text)
    terminal.end()
