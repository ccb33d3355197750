r"""Reads a regular expression of Oniguruma's Ruby syntax, which the tokenizers package uses.

It reads what tokenizers have, and refuses the rest: absent functions, conditions, calls of groups,
the flag x, and escapes such as \X. Source: Oniguruma's doc/RE.
"""

import re
from dataclasses import dataclass

from gptneo_onnx.models.tokenizer_check.character_sets import (
    ANY_BUT_LINE_FEED,
    ANYTHING,
    DIGIT,
    HEX_DIGIT,
    SPACE,
    WORD,
    CharacterSet,
    between,
    literal,
    posix_set,
    property_set,
    union,
)

MAX_LENGTH = 10_000
_MAX_DEPTH = 30
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_SETS = {"s": SPACE, "d": DIGIT, "w": WORD, "h": HEX_DIGIT}
_EDGES = "bBAzZG"
_COUNTS = re.compile(r"\{(\d{1,6})?(,)?(\d{1,6})?\}")
_CODE = re.compile(r"x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})")
_PROPERTY = re.compile(r"[pP]\{(\^?\w+)\}")
_POSIX = re.compile(r"\[:(\^?\w+):\]")
_GROUP = re.compile(
    r"\?(?:([imx]*)(?:-([imx]+))?([:)])|(<[=!]|[=!>])|<[A-Za-z_]\w*>|'[A-Za-z_]\w*')"
)


class PatternError(ValueError):
    """A regular expression that is not read here; its text says what is in the way."""


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    found: CharacterSet


@dataclass(frozen=True)
class Edge:
    r"""A place such as \b or $."""


@dataclass(frozen=True)
class BackReference:
    """What a group matched before."""


@dataclass(frozen=True)
class Group:
    """Alternatives.

    Attributes:
        alternatives: each a sequence.
        is_atomic: whether what it matched is final.
        is_look: whether it only looks ahead or back.
    """

    alternatives: "Pattern"
    is_atomic: bool = False
    is_look: bool = False


@dataclass(frozen=True)
class Repeat:
    """Something several times; most is None for any number."""

    item: "Element"
    least: int
    most: int | None
    is_possessive: bool = False


Element = Characters | Edge | BackReference | Group | Repeat
Pattern = tuple[tuple[Element, ...], ...]


def parse_pattern(text: str) -> tuple[Pattern, frozenset[str]]:
    """Return the alternatives of a regular expression, and the characters that it names.

    Raises:
        PatternError: it is too long, or has something that is not read.
    """
    if len(text) > MAX_LENGTH:
        raise PatternError(f"{len(text)} characters; at most {MAX_LENGTH} are read")
    parser = _Parser(text)
    pattern = parser.alternatives(False, 0)
    if parser.place < len(text):
        raise PatternError("a closing bracket without an opening one")
    return pattern, frozenset(parser.named)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.named: set[str] = set()

    def peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def take(self) -> str:
        character = self.peek()
        if not character:
            raise PatternError("it ends too early")
        self.place += 1
        return character

    def alternatives(self, ignores_case: bool, depth: int) -> Pattern:
        if depth > _MAX_DEPTH:
            raise PatternError("groups nested too deeply")
        found: list[tuple[Element, ...]] = []
        sequence: list[Element] = []
        while (character := self.peek()) and character != ")":
            if character == "|":
                self.place += 1
                found.append(tuple(sequence))
                sequence = []
            elif flags := self._bare_flags():
                if found or sequence:  # what follows would be a separate group
                    raise PatternError("flags in the middle")
                ignores_case = flags == "i"
            else:
                sequence.append(self._quantified(self._element(ignores_case, depth)))
        found.append(tuple(sequence))
        return tuple(found)

    def _bare_flags(self) -> str | None:
        """Take (?i), which holds for what follows; return "i", or "-" where it ends it."""
        if not self.text.startswith("(?", self.place):
            return None
        match = _GROUP.match(self.text, self.place + 1)
        if match is None or match[3] != ")":
            return None
        self.place = match.end()
        return "i" if self._flags(match, False) else "-"

    def _flags(self, match: re.Match[str], before: bool) -> bool:
        if "x" in (match[1] or ""):
            raise PatternError("the flag x")
        return ("i" in match[1] or before) and "i" not in (match[2] or "")

    def _element(self, ignores_case: bool, depth: int) -> Element:
        character = self.take()
        if character == "(":
            return self._group(ignores_case, depth)
        if character == "[":
            return self._characters(self._set(depth), ignores_case)
        if character == ".":
            return Characters(ANY_BUT_LINE_FEED)
        if character in "^$":
            return Edge()
        if character == "\\":
            return self._escape(ignores_case)
        if character in "*+?":
            raise PatternError("a repetition of nothing")
        return self._characters(self._named(character), ignores_case)

    def _characters(self, found: CharacterSet, ignores_case: bool) -> Characters:
        return Characters(found.in_both_cases() if ignores_case else found)

    def _named(self, character: str) -> CharacterSet:
        self.named |= {character, *character.lower()[:1], *character.upper()[:1]}
        return literal(character)

    def _group(self, ignores_case: bool, depth: int) -> Element:
        is_atomic = is_look = False
        if self.peek() == "?":
            match = _GROUP.match(self.text, self.place)
            if match is None:
                raise PatternError(f"the group ({self.text[self.place : self.place + 3]}")
            if match[3]:
                ignores_case = self._flags(match, ignores_case)
            is_atomic, is_look = match[4] == ">", bool(match[4]) and match[4] != ">"
            self.place = match.end()
        elif self.peek() == "*":
            raise PatternError("a callout (*")
        found = self.alternatives(ignores_case, depth + 1)
        if self.peek() != ")":
            raise PatternError("an opening bracket without a closing one")
        self.place += 1
        return Group(found, is_atomic, is_look)

    def _escape(self, ignores_case: bool) -> Element:
        character = self.peek()
        if character and character in _EDGES:
            self.place += 1
            return Edge()
        if character and character in "123456789":
            self.place += 1
            return BackReference()
        return self._characters(self._escaped_set(), ignores_case)

    def _escaped_set(self) -> CharacterSet:
        r"""Return what a backslash and what follows stand for, as \s or \u00e9 do."""
        if match := _CODE.match(self.text, self.place):
            self.place = match.end()
            code = int(match[1] or match[2] or match[3], 16)
            if code > 0x10FFFF:
                raise PatternError(f"the character {code:#x}")
            return self._named(chr(code))
        if match := _PROPERTY.match(self.text, self.place):
            self.place = match.end()
            found = property_set(match[1])
            return found.negated() if match[0][0] == "P" else found
        character = self.take()
        if character.lower() in _SETS and character.isascii():
            found = _SETS[character.lower()]
            return found.negated() if character.isupper() else found
        if character in _CONTROLS:
            return self._named(_CONTROLS[character])
        if character == "0":
            return self._named("\0")
        if character.isascii() and character.isalnum():
            raise PatternError(f"the escape \\{character}")
        return self._named(character)

    def _set(self, depth: int) -> CharacterSet:
        """Read what follows an opening square bracket, up to the closing one."""
        if depth > _MAX_DEPTH:
            raise PatternError("sets nested too deeply")
        negated = self.peek() == "^"
        self.place += negated
        parts: list[CharacterSet] = []
        is_first, is_open = True, False
        while is_first or self.peek() != "]":
            is_first = False
            if self.text.startswith("&&", self.place):  # an intersection
                self.place += 2
                is_open = True
            elif match := _POSIX.match(self.text, self.place):
                self.place = match.end()
                parts.append(posix_set(match[1]))
            elif self.peek() == "[":
                self.place += 1
                parts.append(self._set(depth + 1))
            else:
                parts.append(self._range())
        self.place += 1
        found = CharacterSet(union(parts).may, lambda c: False) if is_open else union(parts)
        return found.negated() if negated else found

    def _range(self) -> CharacterSet:
        first = self._set_item()
        is_range = self.peek() == "-" and self.text[self.place + 1 : self.place + 2] not in (
            "]",
            "",
        )
        if not is_range or not isinstance(first, str):
            return self._named(first) if isinstance(first, str) else first
        self.place += 1
        last = self._set_item()
        if not isinstance(last, str):
            return ANYTHING
        self.named |= {first, last}
        return between(first, last)

    def _set_item(self) -> str | CharacterSet:
        r"""Return a character, or a set such as \s."""
        character = self.take()
        if character != "\\":
            return character
        if self.peek() == "b":
            self.place += 1
            return "\b"
        before = {*self.named}
        self.named.clear()
        found = self._escaped_set()
        one = [c for c in self.named if found.surely(c)]
        self.named |= before
        return one[0] if len(one) == 1 else found

    def _quantified(self, element: Element) -> Element:
        while (found := self._quantifier()) is not None:
            if isinstance(element, Edge) or (isinstance(element, Group) and element.is_look):
                raise PatternError("a repetition of a place")
            least, most, is_possessive = found
            element = Repeat(element, least, most, is_possessive)
        return element

    def _quantifier(self) -> tuple[int, int | None, bool] | None:
        character = self.peek()
        if character and character in "*+?":
            self.place += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[character]
            after = self.peek()
            self.place += after in ("?", "+") if after else 0
            return least, most, after == "+"
        match = _COUNTS.match(self.text, self.place)
        if match is None or not (match[1] or match[3]):
            return None
        self.place = match.end()
        first, last = int(match[1] or 0), int(match[3]) if match[3] else None
        if not match[2]:
            last = first
        if last is not None and last < first:
            raise PatternError(f"the repetition {match[0]}")
        if self.peek() == "?":  # as few as may be; after {n} it means "or none"
            self.place += 1
            first = first if match[2] else 0
        return first, last, False
