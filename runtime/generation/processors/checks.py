"""Checks of the arguments of generate() and of its processors: numbers and token ids.

Every check raises InputError with the argument's name, its value and what is allowed.
"""

import sys
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.generation.processors.base import GREATEST, LOWEST
from gptneo_onnx.runtime.generation.tensors import as_array


def plain(value: Any) -> Any:
    """Turn numpy's numbers into Python's, and sequences and arrays into tuples, however nested."""
    if callable(getattr(value, "tolist", None)):  # numpy's, and torch's tensors
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(plain(item) for item in value)
    return value


def is_whole_number(value: object) -> TypeGuard[int | np.integer[Any]]:
    """Tell whether a value is an integer, Python's or numpy's; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float | np.integer[Any] | np.floating[Any]]:
    """Tell whether a value is a real number, Python's or numpy's; True and False are not.

    A whole number that is too large for a float does not count.
    """
    if is_whole_number(value):
        return abs(int(value)) <= sys.float_info.max
    return isinstance(value, float | np.floating)


def check_whole_number(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Check that a value is a whole number from `least` to `most`; None sets no upper bound."""
    if not is_whole_number(value) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} is {shown(value)}; a whole number {bounds} is allowed")


def check_number(
    name: str,
    value: Any,
    *,
    least: float = LOWEST,
    above: float = -np.inf,
    most: float = GREATEST,
    below: float = np.inf,
) -> None:
    """Check that a value is a number that float32 can hold, and within the bounds."""
    is_inside = is_number(value) and least <= value <= most
    if is_inside and value > above and (value < below or below == np.inf):
        return
    bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
    set_bounds = [f"{word} {bound:g}" for word, bound in bounds.items() if abs(bound) < GREATEST]
    allowed = f"number {' and '.join(set_bounds)}" if set_bounds else "finite number"
    raise InputError(f"{name} is {shown(value)}; a {allowed} is allowed")


def check_cpu(device: object) -> None:
    """Check that watermarks are asked for as PyTorch draws them on a CPU."""
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise InputError(
            f"device is {shown(device)}; watermarks are drawn as on a CPU, and only 'cpu' is "
            "allowed: elsewhere PyTorch draws others"
        )


def known_tokens(name: str, tokens: ArrayLike, vocab_size: int) -> Ids:
    """Return `tokens` as an array, after a check that the vocabulary has all of them."""
    array = np.asarray(tokens)
    unknown = array[(array < 0) | (array >= vocab_size)]
    if unknown.size:
        raise InputError(f"{name} holds token id {unknown[0]}; 0 to {vocab_size - 1} is allowed")
    return array.astype(np.int64)


def tokens_within(ids: int | Sequence[int] | Ids, vocab_size: int) -> Ids:
    """Return the tokens that the vocabulary has.

    The others are passed over: configs of models that were cut down still name them.
    """
    tokens = np.asarray(as_array(ids)).reshape(-1)
    return tokens[(tokens >= 0) & (tokens < vocab_size)].astype(np.int64)
