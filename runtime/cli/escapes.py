r"""Escapes in an argument: \n for a line feed, which a shell does not write easily."""

import re

_CHARACTERS = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_ESCAPE = re.compile(r"\\(?:([nrt\\])|u([0-9A-Fa-f]{4}))")


def unescaped(text: str) -> str:
    r"""Return a text with \n, \r, \t, \\ and \uXXXX replaced by what they stand for.

    Two \uXXXX that are a surrogate pair stand for one character, as in JSON. Other backslashes
    are kept.
    """
    replaced = _ESCAPE.sub(lambda match: _CHARACTERS.get(match[1]) or chr(int(match[2], 16)), text)
    return replaced.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
