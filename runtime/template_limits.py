"""Bounds what a chat template may do: templates are programs, and come with a model's files.

jinja's sandbox keeps a template from the rest of the program, and not from taking all time and
memory: by loops within loops, recursive macros, "a" * 10**12, or lists that hold a list twice, many
times over. Here each turn of a loop, each call, and each text and list that is made costs work, of
which a chat has a fixed amount; and what an expression may make of its operands is checked first.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import chain
from typing import Any

# A chat of 500,000 characters takes a sixth of it with a plain template.
WORK = 30_000_000
_LARGEST = 2_000_000
_NODE, _STEP, _CALL = 40, 100, 500
_LARGEST_NUMBER = 10_000  # of an argument, as in center(80)
_MOST_BITS = 100_000
# Filters and methods whose numbers decide how much they make.
_SIZING = frozenset({
    "batch", "center", "expandtabs", "indent", "ljust", "rjust", "round", "slice", "tojson",
    "truncate", "wordwrap", "zfill",
})  # fmt: skip
# Filters that take a text for a list of its characters.
_LISTING = frozenset({
    "batch", "groupby", "join", "list", "map", "max", "min", "reject", "select", "slice", "sort",
    "sum", "unique",
})  # fmt: skip
_WIDTHS = re.compile(r"\d{5}|\*|:[^{}]*\{")

_WORK: ContextVar[list[int] | None] = ContextVar("work", default=None)


class TemplateLimitError(ValueError):
    """A template that does too much."""


@contextmanager
def limited_work() -> Iterator[None]:
    """Give what runs within a fixed amount of work."""
    token = _WORK.set([WORK])
    try:
        yield
    finally:
        _WORK.reset(token)


def spend(work: int) -> None:
    """Take from the work that is left.

    Raises:
        TemplateLimitError: nothing is left.
    """
    left = _WORK.get()
    if left is not None:
        left[0] -= work
        if left[0] < 0:
            raise TemplateLimitError("it takes too long, or writes too much")


def check_size(size: int) -> None:
    """Take the work of making a text or list of a size.

    Raises:
        TemplateLimitError: it is too large.
    """
    if size > _LARGEST:
        raise TemplateLimitError(f"it makes something of size {size}; at most {_LARGEST} is made")
    spend(size)


def sized(value: Any) -> Any:
    """Return a value, after checking how much there is in it, with all that is in it twice.

    An iterator is returned as one that checks what comes out of it.

    Raises:
        TemplateLimitError: it is too much.
    """
    waiting, size = [value], 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, str | bytes):
            size += len(each)
        elif isinstance(each, Mapping):
            waiting += chain.from_iterable(each.items())
        elif isinstance(each, Collection) and not isinstance(each, range):
            waiting += each
        elif type(each).__name__ == "Namespace":  # jinja's, which shows what it holds
            waiting.append(object.__getattribute__(each, "_Namespace__attrs"))
        size += 1
        if size > _LARGEST:
            check_size(size)
        spend(_NODE)
    spend(size)
    return _checked_items(value) if isinstance(value, Iterator) else value


def _checked_items(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        spend(_STEP)
        yield sized(item)


def tick() -> None:
    """Take the work of a turn of a loop."""
    spend(_STEP)


def joined(parts: Any) -> str:
    """Return texts as one: it takes the place of jinja's concat."""
    parts = [*parts]
    check_size(sum(map(len, parts)))
    return "".join(parts)


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Check what an operator would make.

    Raises:
        TemplateLimitError: something too large.
    """
    spend(_STEP)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(right, 1) if operator == "**" else left.bit_length()
        if bits + right.bit_length() > _MOST_BITS:
            raise TemplateLimitError("it calculates with too large numbers")
    elif operator == "*":
        counts = [n for n in (left, right) if isinstance(n, int)]
        sizes = [len(n) for n in (left, right) if isinstance(n, str | bytes | list | tuple)]
        if counts and sizes:
            check_size(max(counts[0], 0) * sizes[0])
    elif operator == "+" and all(isinstance(n, str | list | tuple) for n in (left, right)):
        check_size(len(left) + len(right))
    elif operator == "%" and isinstance(left, str):
        _check_format(left)
        sized(right)


def check_call(function: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Check what a call would make, as far as its arguments tell.

    Raises:
        TemplateLimitError: something too large.
    """
    spend(_CALL)
    for value in (*arguments, *named.values()):
        if not isinstance(value, Iterator):
            sized(value)
    function = getattr(function, "__wrapped__", function)
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(owner, str | bytes):
        _check_numbers(name, (*arguments, *named.values()))
        _check_method(str(owner), name, arguments)


def _check_numbers(name: str, arguments: tuple[Any, ...]) -> None:
    for value in arguments if name in _SIZING else ():
        if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
            raise TemplateLimitError(f"it calls {name} with a number beyond {_LARGEST_NUMBER}")


def _check_method(text: str, name: str, arguments: tuple[Any, ...]) -> None:
    if name in ("format", "format_map"):
        _check_format(text)
    elif name == "translate":
        raise TemplateLimitError("it calls translate")
    elif name == "expandtabs":
        check_size(len(text) * int(arguments[0] if arguments else 8))
    elif name == "replace" and len(arguments) >= 2:
        check_replacement(text, *arguments[:2])
    elif name == "join" and arguments and isinstance(arguments[0], list | tuple | dict):
        check_size(len(text) * len(arguments[0]))


def check_replacement(text: Any, old: Any, new: Any) -> None:
    """Check the size of a text in which another one is replaced."""
    text, old, new = str(text), str(old), str(new)
    check_size(len(text) + text.count(old) * len(new))


def _check_format(text: str) -> None:
    if _WIDTHS.search(text):
        raise TemplateLimitError("it formats with a width of five digits or more, or an argument's")


def concatenated(*parts: Any) -> str:
    """Return what the operator ~ makes."""
    return joined(str(part) for part in parts)


def limited_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter of jinja that checks what it is given, and what it makes."""

    @wraps(function)  # the attribute that asks for the context or environment, too
    def run(*arguments: Any, **named: Any) -> Any:
        values = arguments[1:] if getattr(function, "jinja_pass_arg", None) else arguments
        check_call(None, values[1:], named)
        _check_numbers(name, (*values[1:], *named.values()))
        value = values[0] if values else None
        if isinstance(value, str):  # urlize and its like take more time than a copy
            spend(len(value) * (_NODE if name in _LISTING else 4))
        if name == "format" and isinstance(value, str):
            _check_format(value)
        if name == "replace" and len(values) >= 3:
            check_replacement(value, *values[1:3])
        if name == "join" and len(values) >= 2 and isinstance(value, Sized):
            check_size(len(value) * len(str(values[1])))
        start = values[2] if name == "sum" and len(values) > 2 else named.get("start", 0)
        if name == "sum" and not isinstance(start, int | float):  # it copies the sum each time
            check_size(len(value) ** 2 if isinstance(value, list | tuple) else _LARGEST + 1)
        if name == "indent" and isinstance(value, str) and len(values) >= 2:
            width = values[1] if isinstance(values[1], int) else len(str(values[1]))
            check_size(len(value) + (value.count("\n") + 1) * width)
        return sized(function(*arguments, **named))

    return run
