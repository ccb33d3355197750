"""Colours of text on a terminal, by ANSI codes; files and pipes have none.

NO_COLOR, FORCE_COLOR and CLICOLOR_FORCE are read as https://no-color.org, https://force-color.org
and https://bixense.com/clicolors describe them.
"""

import os
import re
from typing import Any

from gptneo_onnx.runtime.cli.terminal import is_terminal

# ANSI codes ("select graphic rendition").
BOLD, RED, YELLOW, CYAN = "1", "1;31", "33", "36"

_HEADING = re.compile(r"^(?:usage(?=: )|\S.*(?=:$))", re.MULTILINE)
# The spellings of an option at the start of an indented line; its help is two spaces further right.
_OPTION = re.compile(r"^( {2,4})(-[^\s,]+(?:, -[^\s,]+)*)", re.MULTILINE)


def has_colours(stream: Any) -> bool:
    """Return whether text for a stream gets colours.

    NO_COLOR, if it is not empty, says no. FORCE_COLOR and CLICOLOR_FORCE, unless empty or 0, say
    yes for anything. Otherwise terminals have colours, unless TERM is dumb.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if any(
        os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")
    ):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def coloured(text: str, code: str, stream: Any) -> str:
    """Return a text in a colour, if the stream has colours."""
    return f"\033[{code}m{text}\033[0m" if text and has_colours(stream) else text


def coloured_help(text: str, stream: Any) -> str:
    """Return argparse's help with its headings and options in colours, if the stream has them."""
    if not has_colours(stream):
        return text
    text = _HEADING.sub(lambda found: coloured(found[0], BOLD, stream), text)
    return _OPTION.sub(lambda found: found[1] + coloured(found[2], CYAN, stream), text)
