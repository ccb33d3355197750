"""Checks SentencePiece's table of normalization rules, as the normalizer Precompiled has it.

The tokenizers package follows it without looking whether an index is inside. Layout: 4 bytes with
the size of a trie (a double array of 32-bit units, little-endian), the trie, then the replacements
in UTF-8, each with a zero after it. Source: sentencepiece's normalizer.cc, and darts-clone.
"""

import base64
import binascii
import unicodedata
from array import array
from sys import byteorder

_LEAF = 1 << 8
_VALUE = (1 << 31) - 1


def check_charsmap(text: object) -> int:
    """Return how many characters the longest replacement has.

    Args:
        text: base64.

    Raises:
        ValueError: it is damaged; the text says how.
    """
    if not isinstance(text, str):
        raise ValueError("not a text of base64")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    size = int.from_bytes(content[:4], "little")
    if size % 4 or not 4 <= size <= len(content) - 4:
        raise ValueError(f"its trie has {size} bytes, of {len(content)}")
    units = array("I", content[4 : 4 + size])
    if byteorder == "big":
        units.byteswap()
    replacements = content[4 + size :]
    try:
        texts = replacements.decode("utf-8").split("\0")
    except UnicodeDecodeError as error:
        raise ValueError("its replacements are not UTF-8") from error
    _check_units(units, replacements)
    return max(len(unicodedata.normalize("NFKD", each)) for each in texts)


def _check_units(units: "array[int]", replacements: bytes) -> None:
    """Check that no step from a unit leads out of the trie, and no value out of the replacements.

    A step goes from where a unit points to one of the 256 places of that block.
    """
    for index, unit in enumerate(units):
        if unit >> 31:  # a value
            continue
        target = index ^ ((unit >> 10) << ((unit & (1 << 9)) >> 6))
        if target | 0xFF >= len(units):
            raise ValueError(f"unit {index} of its trie points out of it")
        if unit & _LEAF:
            value = units[target] & _VALUE
            is_start = value < len(replacements) and replacements[value] & 0xC0 != 0x80
            if not is_start and value != len(replacements):
                raise ValueError(f"unit {index} of its trie names no replacement")
