"""The kinds of fields that GenerationConfig has.

A field is declared with its default, the values that generate() takes and its meaning:

    top_k: int | None = integer(50, None, "draw from this many of the likeliest tokens")

A config keeps values as they were given. A kind reads one where it is used: it returns what
generate() goes by, or raises InputError.
"""

import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, dataclass, field
from typing import Any, TypeGuard, TypeVar

from gptneo_onnx.models.errors import InputError, shown

MAX_RETURN_SEQUENCES = 1024
MAX_TOKEN = 2**63 - 1  # ids are int64
_GREATEST = sys.float_info.max

T = TypeVar("T")
# Called with a field's name and its plain value, which is not None.
Kind = Callable[[str, Any], Any]


def declare(default: T, kind: Kind, meaning: str) -> T:
    """Declare a dataclass field; its metadata are the kind of its values and its meaning."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


def integer(default: T, least: int | None, meaning: str, most: int | None = None) -> T:
    """Declare a field of a whole number."""
    return declare(default, Integer(least, most), meaning)


def length(default: T, meaning: str) -> T:
    """Declare a field of a number of tokens; a part of a token counts as one."""
    return declare(default, read_length, meaning)


def number(default: T, meaning: str, least: float = -math.inf, most: float = math.inf) -> T:
    """Declare a field of a number; a processor may narrow it further."""
    return declare(default, Number(least, most), meaning)


def token(default: T, meaning: str) -> T:
    """Declare a field of a token id; -1 and its kind are no token."""
    return declare(default, read_token, meaning)


def tokens(default: T, meaning: str) -> T:
    """Declare a field of a token id or several; -1 and its kind are no token."""
    return declare(default, read_tokens, meaning)


def flag(default: bool | None, meaning: str, is_strict: bool = False) -> bool:
    """Declare a field of True or False; if it is strict, 1 is False, as in transformers."""
    return declare(default, _is_true if is_strict else _is_truthy, meaning)  # type: ignore[return-value]


def unread(default: T, meaning: str) -> T:
    """Declare a field whose values are checked by what uses them."""
    return declare(default, lambda name, value: value, meaning)


def unused(default: T) -> T:
    """Declare a field of transformers' that no token here depends on; it is only kept."""
    return field(default=default, metadata={})


def is_real(value: Any) -> TypeGuard[float]:
    """Tell whether a value is a number that a float can hold, infinities among them."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _GREATEST)


def is_finite(value: Any) -> TypeGuard[float]:
    """Tell whether a value is a whole number of any size, or a finite float."""
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


@dataclass(frozen=True)
class Integer:
    """Reads a whole number from `least` to `most`; 3.0 is one too."""

    least: int | None = None
    most: int | None = None

    def __call__(self, name: str, value: Any) -> int:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        is_below = is_whole and self.least is not None and value < self.least
        is_above = is_whole and self.most is not None and value > self.most
        if is_whole and not is_below and not is_above:
            return int(value)
        # That ids are int64 only concerns callers who exceed it.
        hides_most = self.most is None or (self.most == MAX_TOKEN and not is_above)
        bounds = [] if self.least is None else [f"at least {self.least}"]
        bounds += [] if hides_most else [f"at most {self.most}"]
        of_bounds = f" of {' and '.join(bounds)}" if bounds else ""
        raise InputError(f"{name} is {shown(value)}; a whole number{of_bounds} is allowed")


@dataclass(frozen=True)
class Number:
    """Reads a number from `least` to `most`."""

    least: float = -math.inf
    most: float = math.inf

    def __call__(self, name: str, value: Any) -> float:
        is_outside = is_real(value) and (value < self.least or value > self.most)
        if is_real(value) and not is_outside:
            return int(value) if isinstance(value, bool) else value
        is_bounded = (self.least, self.most) != (-math.inf, math.inf)
        bounds = f" from {self.least:g} to {self.most:g}" if is_bounded else ""
        raise InputError(f"{name} is {shown(value)}; a number{bounds} is allowed")


@dataclass(frozen=True)
class OneOrSeveral:
    """Reads what `kind` reads, or a tuple of such values."""

    kind: Kind

    def __call__(self, name: str, value: Any) -> Any:
        if not isinstance(value, tuple):
            return self.kind(name, value)
        if None in value:  # a field may be None, but not a value of several
            raise InputError(f"{name} holds None; leave it out, or pass {name}=None")
        return tuple(self.kind(name, item) for item in value)


def read_length(name: str, value: Any) -> int:
    """Return a number of tokens, rounded up."""
    if is_finite(value) and value > 0:
        return math.ceil(value)
    raise InputError(f"{name} is {shown(value)}; a whole number of at least 1 is allowed")


def read_token(name: str, value: Any) -> int:
    """Return a token id; torch takes 3.7 for 3."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if is_finite(value) and abs(value) <= MAX_TOKEN:
        return int(value)
    raise InputError(f"{name} is {shown(value)}; a token id is allowed")


def read_tokens(name: str, value: Any) -> tuple[int, ...] | None:
    """Return the ids that are at least 0; None if no id is left."""
    ids = OneOrSeveral(read_token)(name, value)
    several = ids if isinstance(ids, tuple) else (ids,)
    return tuple(each for each in several if each >= 0) or None


def read_matching(name: str, value: Any) -> tuple[int, ...]:
    """Return the ids among numbers that ids are compared with: 3.5 and -1 match none."""
    several = OneOrSeveral(Number())(name, value)
    several = several if isinstance(several, tuple) else (several,)
    return tuple(int(each) for each in several if each % 1 == 0 and 0 <= each <= MAX_TOKEN)


def read_decay(name: str, value: Any) -> tuple[float, float]:
    """Return (start, factor)."""
    if not isinstance(value, tuple) or len(value) < 2:
        raise InputError(f"{name} is {shown(value)}; (start, factor) is allowed")
    start, factor = value[:2]
    return Number()(f"{name}'s start", start), Number()(f"{name}'s factor", factor)


def read_early_stopping(name: str, value: Any) -> Any:
    """Return True, False or "never"; 1 is False, as in transformers."""
    return "never" if value == "never" else value is True


def read_stop_string(name: str, value: Any) -> str:
    """Return a text of at least one character."""
    if not isinstance(value, str) or not value:
        raise InputError(
            f"{name} holds {shown(value)}; texts of at least one character are allowed"
        )
    return value


def attributes_section(
    declared: Iterable[Field[Any]], kept: Sequence[str], title: str = "Attributes:"
) -> str:
    """Return a section of a docstring with the meaning of every field.

    `kept` are the names of those that have no meaning here.
    """
    entries = [f"{each.name}: {each.metadata['meaning']}." for each in declared if each.metadata]
    lines = [line for entry in entries for line in _wrapped(entry, " " * 4, " " * 8)]
    note = "Kept for transformers, and without effect here: " + ", ".join(kept) + "."
    return "\n".join([title, *lines, "", *_wrapped(note, "", "")])


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(text, width=100, initial_indent=first, subsequent_indent=others)


def _is_truthy(name: str, value: Any) -> bool:
    return bool(value)


def _is_true(name: str, value: Any) -> bool:
    return value is True
