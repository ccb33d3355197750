"""How deep lists and objects of a JSON text are within each other, without parsing it.

Parsers recurse: a text of brackets alone would end in RecursionError, or worse.
"""

import re

import numpy as np

# To the end of the text where a string has none. Possessive, so that no text takes quadratic time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"
_NO_BRACKETS = bytes(set(range(256)) - {*_OPENING, *_CLOSING})


def json_depth(text: bytes) -> int:
    """Return how many lists and objects of a text are within each other at most."""
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    is_opening = np.isin(np.frombuffer(brackets, np.uint8), [*_OPENING])
    return int(np.where(is_opening, 1, -1).cumsum().max(initial=0))


def is_too_deep(text: bytes, most: int) -> bool:
    """Return whether a text has more than `most` lists and objects within each other."""
    return text.count(b"[") + text.count(b"{") > most and json_depth(text) > most
