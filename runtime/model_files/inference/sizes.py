"""Numbers that depend on the sizes of a graph's inputs: sizes of axes, and what is made of them.

A number is an int, or a Size: a polynomial of the inputs' axes where it is one, and bounds that
hold for all sizes that the inputs may have. Sums, differences and products stay exact. What is no
polynomial has bounds alone.
"""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

# Beyond these a polynomial is given up for its bounds: the check has to end soon for any graph.
_MAX_TERMS = 6
_MAX_DEGREE = 4
# Whole numbers of ONNX have at most 64 bits, and wrap around.
INT64 = (-(2**63), 2**63 - 1)


class Axis(NamedTuple):
    """An axis of the graph's inputs, and the sizes that it may have."""

    name: str
    least: int
    most: int


# Coefficients by product of axes, in the order of their names.
_Terms = dict[tuple[Axis, ...], int]


@dataclass(frozen=True, slots=True)
class Size:
    """A number that is not known before the graph runs, from `least` to `most`.

    Attributes:
        terms: the size as a polynomial of axes; None if it is not one.
    """

    least: int
    most: int
    terms: _Terms | None = None


Number = int | Size

# The positions before this step and those of this step: together at most the context.
PAST, SEQUENCE = "past", "sequence"
# The texts of a step: bounds are those for one text, but nothing is concluded from there being one.
BATCH = "batch"


def axis(name: str, least: int, most: int) -> Size:
    """Return the size of an axis of the inputs."""
    return Size(least, most, {(Axis(name, least, most),): 1})


def between(least: int, most: int) -> Number:
    """Return a number of which only the bounds are known."""
    return least if least == most else Size(least, most)


def least(number: Number) -> int:
    return number if isinstance(number, int) else number.least


def most(number: Number) -> int:
    return number if isinstance(number, int) else number.most


def lowest(number: Number) -> int:
    """Return the lower bound for any number of texts."""
    if isinstance(number, int) or not _counts_texts(number):
        return least(number)
    return INT64[0] if any(factor < 0 for factor in (number.terms or {}).values()) else number.least


def highest(number: Number) -> int:
    """Return the upper bound for any number of texts."""
    return INT64[1] if isinstance(number, Size) and _counts_texts(number) else most(number)


def _counts_texts(number: Size) -> bool:
    return any(each.name == BATCH for product in number.terms or () for each in product)


def add(left: Number, right: Number) -> Number:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    terms, others = _terms(left), _terms(right)
    if terms is not None and others is not None:
        total = dict(terms)
        for product, factor in others.items():
            total[product] = total.get(product, 0) + factor
        return _polynomial(total)
    return between(lowest(left) + lowest(right), highest(left) + highest(right))


def negative(number: Number) -> Number:
    if isinstance(number, int):
        return -number
    terms = None if number.terms is None else {key: -value for key, value in number.terms.items()}
    return Size(-number.most, -number.least, terms)


def subtract(left: Number, right: Number) -> Number:
    return add(left, negative(right))


def multiply(left: Number, right: Number) -> Number:
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if 1 in (left, right):
        return right if left == 1 else left
    terms, others = _terms(left), _terms(right)
    if terms is not None and others is not None and len(terms) * len(others) <= _MAX_TERMS**2:
        total: _Terms = {}
        for product, factor in terms.items():
            for other, times in others.items():
                key = tuple(sorted(product + other))
                total[key] = total.get(key, 0) + factor * times
        return _polynomial(total)
    corners = [a * b for a in _ends(left) for b in _ends(right)]
    return between(min(corners), max(corners))


def product(numbers: tuple[Number, ...]) -> Number:
    if all(isinstance(number, int) for number in numbers):
        return prod(numbers)  # type: ignore[arg-type]  # all are ints
    result: Number = 1
    for number in numbers:
        result = multiply(result, number)
    return result


def divide(left: Number, right: Number) -> Number:
    """Return left / right, cut towards 0 as ONNX does; `right` is known not to be 0."""
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    exact = exact_quotient(left, right)
    if exact is not None:
        return exact
    if lowest(left) >= 0 and lowest(right) > 0:
        return between(lowest(left) // highest(right), highest(left) // lowest(right))
    bound = max(map(abs, _ends(left)))
    return between(-bound, bound)


def remainder(left: Number, right: Number) -> Number:
    """Return left % right; `right` is known not to be 0."""
    if isinstance(left, int) and isinstance(right, int):
        return left % right
    bound = max(map(abs, _ends(right)))
    return between(0 if lowest(right) > 0 else -bound, bound)


def exact_quotient(left: Number, right: Number) -> Number | None:
    """Return left / right if that is a polynomial, or None."""
    if right == 0:
        return None
    if left == right and least(right) > 0:
        return 1
    terms, others = _terms(left), _terms(right)
    if terms is None or others is None or len(others) != 1:
        return None
    [(divisor, factor)] = others.items()
    total: _Terms = {}
    for dividend, times in terms.items():
        rest = list(dividend)
        for each in divisor:
            if each not in rest:
                return None
            rest.remove(each)
        if times % factor:
            return None
        total[tuple(rest)] = times // factor
    return _polynomial(total)


def smaller(left: Number, right: Number) -> Number:
    if highest(left) <= lowest(right):
        return left
    if highest(right) <= lowest(left):
        return right
    return between(min(lowest(left), lowest(right)), min(highest(left), highest(right)))


def larger(left: Number, right: Number) -> Number:
    return negative(smaller(negative(left), negative(right)))


def either(left: Number, right: Number) -> Number:
    """Return what is known of a number that is one of these two."""
    if left == right:
        return left
    return between(min(lowest(left), lowest(right)), max(highest(left), highest(right)))


def _ends(number: Number) -> tuple[int, int]:
    return lowest(number), highest(number)


def _terms(number: Number) -> _Terms | None:
    return {(): number} if isinstance(number, int) else number.terms


def _polynomial(terms: _Terms) -> Number:
    terms = {product: factor for product, factor in terms.items() if factor}
    if not terms.keys() - {()}:
        return terms.get((), 0)
    low, high = _bounds(terms)
    if len(terms) > _MAX_TERMS or any(len(product) > _MAX_DEGREE for product in terms):
        return between(low, high)
    return Size(low, high, terms)


def _bounds(terms: _Terms) -> tuple[int, int]:
    """Return bounds of a polynomial; all axes have sizes from 0 on."""
    low = high = 0
    past = sequence = None
    if any(each.name == BATCH for axes in terms for each in axes):
        return _bounds_of_texts(terms)
    for axes, factor in terms.items():
        if len(axes) == 1 and axes[0].name == PAST:
            past = axes[0], factor
        elif len(axes) == 1 and axes[0].name == SEQUENCE:
            sequence = axes[0], factor
        else:
            ends = factor * prod(each.least for each in axes), factor * prod(e.most for e in axes)
            low, high = low + min(ends), high + max(ends)
    if past is None and sequence is None:
        return low, high
    # Both together are at most the context, so that the corners of a triangle are the extremes.
    context = sequence[0].most if sequence is not None else past[0].most + 1  # type: ignore[index]
    ahead = 0 if past is None else past[1]
    now = 0 if sequence is None else sequence[1]
    corners = (now, now * context, ahead * (context - 1) + now)
    if sequence is None:
        corners = (0, ahead * (context - 1), 0)
    return low + min(corners), high + max(corners)


def _bounds_of_texts(terms: _Terms) -> tuple[int, int]:
    """Return bounds for one text; a polynomial of several texts is at most that many times this."""
    low = high = 0
    for axes, factor in terms.items():
        texts = sum(each.name == BATCH for each in axes)
        ends = factor * prod(each.least for each in axes), factor * prod(each.most for each in axes)
        low += min(ends) if factor > 0 else INT64[0] if texts else min(ends)
        high += 0 if factor < 0 else max(ends) if texts < 2 else INT64[1]
    return low, high
