"""The errors that the package raises on purpose.

GPTNeoOnnxError
├── InputError (ValueError)              an argument, prompt or mask that cannot be used
├── ModelFileError (ValueError)          a checkpoint or an exported model that cannot be used
├── ExportError (OSError)                an export that could not be written
├── DeviceError (RuntimeError)           a device that was asked for and is not available
└── MissingDependencyError (ImportError) a package that this call needs is not installed
"""

import unicodedata
from typing import Any

# Characters of a message: a path alone may have 4096.
_LONGEST = 1200
_JOINERS = "\u200c\u200d"


class GPTNeoOnnxError(Exception):
    """The base class: catching it catches every error that the package raises on purpose.

    Its text is one line of printable characters, whatever the names and values in it hold.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), _LONGEST)


class InputError(GPTNeoOnnxError, ValueError):
    """An argument, prompt or mask that cannot be used."""


class ModelFileError(GPTNeoOnnxError, ValueError):
    """A checkpoint or an exported model that is missing, damaged or of another kind."""


class ExportError(GPTNeoOnnxError, OSError):
    """An export that could not be written; no part of it remains."""


class DeviceError(GPTNeoOnnxError, RuntimeError):
    """A device that was asked for by name is not available."""


class MissingDependencyError(GPTNeoOnnxError, ImportError):
    """A package that this call needs is not installed."""


def printable(text: str, longest: int | None = None) -> str:
    r"""Return a text as one line in which nothing steers a terminal.

    Line breaks become spaces. Other characters that are not printable become escapes such as \x1b:
    control characters, and those that change the direction of what follows. Spaces of all widths
    stay, and what joins letters or parts of a picture.

    Args:
        text: any text.
        longest: a text with more characters loses its middle.
    """
    if not text.isprintable():
        lines = text.splitlines()
        text = " ".join(map(str.strip, lines)) if len(lines) > 1 else "".join(lines)
        text = "".join(c if _is_harmless(c) else _escape(ord(c)) for c in text)
    if longest is None or len(text) <= longest:
        return text
    kept = longest // 2 - 3
    return f"{text[:kept]} ... {text[-kept:]}"


def _is_harmless(character: str) -> bool:
    is_space = unicodedata.category(character) == "Zs"
    return character.isprintable() or is_space or character in _JOINERS


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(value: Any) -> str:
    """Return a value's repr for a message: one line of at most 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # a number with more digits than Python writes out
        text = "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."
