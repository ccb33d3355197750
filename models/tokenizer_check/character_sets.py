"""The characters that one place of a regular expression may match.

A set answers for single characters, and may be unsure: then the character may match, and not
surely.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

Test = Callable[[str], bool]
_SEPARATORS = "\x1c\x1d\x1e\x1f"  # white space for Python alone
# Unicode's general categories, and groups of them.
_CATEGORIES = (
    *("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No"),
    *("P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So"),
    *("Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co", "Cn"),
)
_POSIX = {
    "alpha": str.isalpha,
    "digit": str.isdigit,
    "alnum": str.isalnum,
    "space": str.isspace,
    "upper": str.isupper,
    "lower": str.islower,
}


@dataclass(frozen=True)
class CharacterSet:
    """A set of characters.

    Attributes:
        may: whether a character may be in it.
        surely: whether it is in it whatever the regular expression engine's details.
    """

    may: Test
    surely: Test

    def negated(self) -> "CharacterSet":
        """Return the set of the other characters."""
        return CharacterSet(lambda c: not self.surely(c), lambda c: not self.may(c))

    def in_both_cases(self) -> "CharacterSet":
        """Return the set as it is where capital and small letters are the same."""
        return CharacterSet(
            lambda c: any(map(self.may, _cases(c))), lambda c: all(map(self.surely, _cases(c)))
        )


def _cases(character: str) -> set[str]:
    return {character, *character.lower()[:1], *character.upper()[:1]}


def exactly(test: Test) -> CharacterSet:
    """Return a set without doubts."""
    return CharacterSet(test, test)


ANYTHING = CharacterSet(lambda c: True, lambda c: False)
ANY_BUT_LINE_FEED = CharacterSet(lambda c: True, lambda c: c != "\n")
SPACE = CharacterSet(str.isspace, lambda c: c.isspace() and c not in _SEPARATORS)
DIGIT = exactly(lambda c: unicodedata.category(c) == "Nd")
HEX_DIGIT = exactly(lambda c: c in "0123456789abcdefABCDEF")
WORD = CharacterSet(
    lambda c: unicodedata.category(c)[0] in "LMN" or unicodedata.category(c) == "Pc",
    lambda c: c == "_" or c.isalnum(),
)


def literal(character: str) -> CharacterSet:
    """Return the set of one character."""
    return exactly(lambda c: c == character)


def between(first: str, last: str) -> CharacterSet:
    """Return a range of characters.

    Which letters beyond ASCII it shares with another set is left open.
    """
    if last < "\x80":
        return exactly(lambda c: first <= c <= last)
    return CharacterSet(lambda c: c >= min(first, "\x80"), lambda c: first <= c <= last)


def union(sets: Iterable[CharacterSet]) -> CharacterSet:
    """Return the set of characters that are in any of the sets."""
    parts = [*sets]
    return CharacterSet(
        lambda c: any(part.may(c) for part in parts),
        lambda c: any(part.surely(c) for part in parts),
    )


def property_set(name: str) -> CharacterSet:
    r"""Return the set of \p{name}; anything for names other than Unicode's general categories."""
    negated = name.startswith("^")
    name = name.removeprefix("^")
    if name in _CATEGORIES:
        found = exactly(lambda c: unicodedata.category(c).startswith(name))
    else:
        found = ANYTHING
    return found.negated() if negated else found


def posix_set(name: str) -> CharacterSet:
    """Return the set of [:name:]; anything for names that are not known."""
    test = _POSIX.get(name.removeprefix("^"))
    if test is None:
        return ANYTHING
    # Where Python and the engine differ beyond ASCII, it is left open.
    found = CharacterSet(lambda c: c >= "\x80" or test(c), lambda c: c < "\x80" and test(c))
    return found.negated() if name.startswith("^") else found


@lru_cache
def samples() -> frozenset[str]:
    """Return characters that stand for all: ASCII, Latin, and some of each general category."""
    found = {chr(code) for code in range(0x180)} | {*"\u4e00\u9fa5\uac00\ue000\uff01\U0001f600"}
    seen: dict[str, int] = {}
    for code in range(0x180, 0x3100):
        category = unicodedata.category(chr(code))
        seen[category] = seen.get(category, 0) + 1
        if seen[category] <= 3:
            found.add(chr(code))
    return frozenset(found)
