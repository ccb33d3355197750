"""What is printed to a terminal: its lines break between words."""

import shutil
import textwrap
from typing import Any

from gptneo_onnx.models.errors import printable


def is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal; a closed one, or None, is not."""
    try:
        return bool(stream is not None and stream.isatty())
    except ValueError:  # it is closed
        return False


def wrapped(text: str, stream: Any, indent: int = 0) -> str:
    """Return a text with its lines broken between words, where the stream is a terminal.

    What is not printable is an escape: names and values of files may be in the text.

    Args:
        text: lines.
        stream: where they are printed.
        indent: how many spaces the rest of a broken line begins with.
    """
    lines = [printable(line) for line in text.split("\n")]
    if not is_terminal(stream):
        return "\n".join(lines)
    width = max(shutil.get_terminal_size().columns, indent + 20)
    return "\n".join(_broken(line, width, indent) for line in lines)


def _broken(line: str, width: int, indent: int) -> str:
    if len(line) <= width:
        return line
    lines = textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)
