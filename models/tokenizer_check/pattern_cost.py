r"""Says whether a regular expression may take long: how often the engine may try again.

At one place of a text of n characters, a backtracking engine tries about n ** degree times. Degree
1 is what \s+(?!\S) has: after each try one space less is taken. \s*\s*x has 2, and (a+)+b an
exponential number. A repetition counts only if something after it may fail, since only that makes
the engine come back; and two count together only if both may take the same characters, with
nothing between that ends the first one. So GPT-2's, cl100k's, o200k's and Llama's have degree 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gptneo_onnx.models.tokenizer_check.character_sets import samples
from gptneo_onnx.models.tokenizer_check.pattern_parser import (
    BackReference,
    Characters,
    Edge,
    Element,
    Group,
    Pattern,
    PatternError,
    Repeat,
    parse_pattern,
)

_MAX_DEGREE = 1
_MAX_CHOICES = 64
_MAX_PATHS = 500
# A repetition with a wider range counts as one without an end.
_FEW = 8
# What takes more characters than this, all together, counts as well.
_LONG = 64


@dataclass(frozen=True)
class _Step:
    """A part of one way through a pattern: some characters of a set.

    Attributes:
        found: the characters; empty for a place.
        least, most: how many; None for any number.
        returns: whether the engine may come back to it for fewer or more.
        degree: of the patterns within.
        is_hard: whether coming back to it may take exponential time.
        fails: whether it may fail although it can match nothing.
    """

    found: frozenset[str]
    least: int
    most: int | None
    returns: bool = False
    degree: int = 0
    is_hard: bool = False
    fails: bool = False

    @property
    def may_fail(self) -> bool:
        return self.fails or self.least > 0 or not self.found


_Path = tuple[_Step, ...]


@dataclass(frozen=True)
class PatternCost:
    """What a regular expression costs.

    Attributes:
        least: how few characters a match may have.
        weight: in how many ways, at most, it takes n tries at a place of a text of n characters.
    """

    least: int
    weight: int


def check_pattern(text: str) -> PatternCost:
    """Return what a regular expression costs, if it takes no long time on any text.

    Raises:
        PatternError: it may take long, or has something that is not understood here.
    """
    pattern, named = parse_pattern(text)
    analysis = _Analysis(samples() | named)
    if analysis.degree(pattern) > _MAX_DEGREE:
        raise PatternError("repetitions that take the same characters, one after the other")
    return PatternCost(_least(pattern), analysis.weight)


def _least(pattern: Pattern) -> int:
    return min(sum(map(_least_of, sequence)) for sequence in pattern)


def _least_of(element: Element) -> int:
    if isinstance(element, Characters):
        return 1
    if isinstance(element, Group):
        return 0 if element.is_look else _least(element.alternatives)
    if isinstance(element, Repeat):
        return element.least * _least_of(element.item)
    return 0


class _Analysis:
    def __init__(self, letters: frozenset[str]) -> None:
        self._letters = letters
        self._found: dict[int, tuple[object, frozenset[str]]] = {}
        self.weight = 0

    def degree(self, pattern: Pattern) -> int:
        """Return the degree of a pattern after which nothing fails."""
        return max(map(self._degree_of_sequence, pattern))

    def _degree_of_sequence(self, sequence: Sequence[Element]) -> int:
        last = max((i for i, each in enumerate(sequence) if _may_fail(each)), default=-1)
        # What is left over at the end never makes the engine come back.
        inner = [self._degree_within(element) for element in sequence[last + 1 :]]
        paths = self._paths(sequence[: last + 1])
        return max((*map(self._degree_of_path, paths), *inner), default=0)

    def _degree_within(self, element: Element) -> int:
        if isinstance(element, Repeat):
            return self._degree_within(element.item)
        return self.degree(element.alternatives) if isinstance(element, Group) else 0

    def _degree_of_one_go(self, element: Element) -> int:
        """Return the degree of something that is gone through whenever what is before it changes.

        It is 1 where there is a repetition, even if that never makes the engine come back.
        """
        return max(self._degree_within(element), int(_is_endless(element)))

    def _degree_of_path(self, path: _Path) -> int:
        last = max((i for i, step in enumerate(path) if step.may_fail), default=-1)
        active: list[int] = []
        choices = 1
        for index, step in enumerate(path[:last]):
            if step.is_hard:
                raise PatternError("a repetition within a repetition")
            if step.most is None or step.most - step.least > _FEW:
                active.append(index)  # one that is final takes time whenever it is tried again
            elif step.returns:
                choices *= step.most - step.least + 1
        if choices > _MAX_CHOICES:
            raise PatternError(f"more than {_MAX_CHOICES} ways to match one text")
        longest: dict[int, int] = {}
        for index in active:
            before = [longest[i] for i in active if i < index and _together(path, i, index)]
            longest[index] = 1 + max(before, default=0)
        self.weight += choices if active else 0
        is_long = bool(active) and sum(step.least for step in path[active[0] + 1 :]) > _LONG
        inner = max((step.degree for step in path), default=0)
        return max(longest.values(), default=0) + is_long + inner

    def _paths(self, sequence: Iterable[Element]) -> list[_Path]:
        paths: list[_Path] = [()]
        for element in sequence:
            ways = self._ways(element)
            if len(paths) * len(ways) > _MAX_PATHS:
                raise PatternError(f"more than {_MAX_PATHS} alternatives")
            paths = [(*path, *way) for path in paths for way in ways]
        return paths

    def _ways(self, element: Element) -> list[_Path]:
        if isinstance(element, Characters):
            return [(_Step(self._matched(element), 1, 1),)]
        if isinstance(element, Edge):
            return [(_Step(frozenset(), 0, 0),)]
        if isinstance(element, BackReference):
            return [(_Step(self._letters, 1, None, degree=1),)]
        if isinstance(element, Repeat):
            return self._ways_of_repeat(element)
        if element.is_look:
            return [(_Step(frozenset(), 0, 0, degree=self._degree_of_one_go(element)),)]
        if element.is_atomic:
            return [(self._whole(element, 1, None, self._degree_of_one_go(element)),)]
        return [path for sequence in element.alternatives for path in self._paths(sequence)]

    def _ways_of_repeat(self, repeat: Repeat) -> list[_Path]:
        item, least, most = repeat.item, repeat.least, repeat.most
        returns = not repeat.is_possessive and least != most
        if isinstance(item, Characters):
            return [(_Step(self._matched(item), least, most, returns),)]
        if repeat.is_possessive:
            return [(self._whole(item, least, None, self._degree_of_one_go(item)),)]
        if most == 1 and isinstance(item, Group):
            return [*self._ways(item), *([()] if least == 0 else [])]
        paths = self._ways(item)
        if _is_plain(paths):
            width = sum(step.least for step in paths[0])
            found = frozenset().union(*(step.found for path in paths for step in path))
            inner = max(step.degree for path in paths for step in path)
            top = None if most is None else most * width
            return [(_Step(found, least * width, top, returns, inner),)]
        return [(self._whole(item, least, most, self._degree_within(item), is_hard=True),)]

    def _whole(
        self, element: Element, least: int, most: int | None, degree: int, is_hard: bool = False
    ) -> _Step:
        """Return one step for all that an element matches."""
        found = self._matched(element)
        fails = least > 0 and _may_fail(element)
        return _Step(found, least * _least_of(element), most, False, degree, is_hard, fails)

    def _matched(self, element: Element) -> frozenset[str]:
        """Return the characters that may be in what an element matches."""
        if isinstance(element, Characters):
            key = id(element)
            if key not in self._found:
                may = element.found.may
                self._found[key] = element, frozenset(c for c in self._letters if may(c))
            return self._found[key][1]
        if isinstance(element, Repeat):
            return self._matched(element.item)
        if isinstance(element, Group):
            parts = (self._matched(each) for one in element.alternatives for each in one)
            return frozenset().union(*parts)
        return self._letters if isinstance(element, BackReference) else frozenset()


def _may_fail(element: Element) -> bool:
    if isinstance(element, Repeat):
        return element.least > 0 and _may_fail(element.item)
    if isinstance(element, Group) and not element.is_look:
        return all(any(map(_may_fail, sequence)) for sequence in element.alternatives)
    return True


def _is_endless(element: Element) -> bool:
    """Return whether an element may match any number of characters."""
    if isinstance(element, Repeat):
        return element.most is None or element.most > _LONG or _is_endless(element.item)
    if isinstance(element, Group):
        return any(_is_endless(each) for sequence in element.alternatives for each in sequence)
    return isinstance(element, BackReference)


def _is_plain(paths: Sequence[_Path]) -> bool:
    """Return whether a text can be cut into these paths, one after the other, in one way only.

    So it is where each has a fixed number of characters and no two begin with the same one.
    """
    if not all(any(step.least for step in path) for path in paths):
        return False
    if any(step.least != step.most or step.is_hard for path in paths for step in path):
        return False
    if len({sum(step.least for step in path) for path in paths}) > 1:
        return False
    firsts = [next(step.found for step in path if step.least) for path in paths]
    return sum(map(len, firsts)) == len(frozenset().union(*firsts))


def _together(path: _Path, first: int, second: int) -> bool:
    """Return whether one character may be taken by either of two repetitions."""
    if not path[first].found & path[second].found:
        return False
    between = path[first + 1 : second + 1]
    return not any(step.least and not step.found & path[first].found for step in between)
