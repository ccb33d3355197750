"""Arguments of processors' constructors, converted and checked as transformers' constructors do.

Beyond what those take, whole numbers serve as floats, and NumPy's numbers and arrays of one number
as Python's. NaN is always refused. Every function raises InputError with the argument's name, its
value and what is allowed.
"""

from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.generation.processors.checks import is_number, is_whole_number
from gptneo_onnx.runtime.generation.tensors import as_array, ids_array, is_tensor

_BEYOND = 2**63 - 1  # of every vocabulary


def set_fields(processor: object, **values: Any) -> None:
    """Set the fields of a frozen dataclass to what its arguments were converted to."""
    for name, value in values.items():
        object.__setattr__(processor, name, value)


def fraction(name: str, value: Any, *, is_open: bool) -> float:
    """Return float(value), which is within 0 and 1; with `is_open` neither of the two."""
    try:
        converted = float(value)
    except (TypeError, ValueError, OverflowError):
        converted = np.nan
    if (0 < converted < 1) if is_open else (0 <= converted <= 1):
        return converted
    bounds = "above 0 and below 1" if is_open else "of at least 0 and of at most 1"
    raise InputError(f"{name} is {shown(value)}; a number {bounds} is allowed")


def positive(name: str, value: Any) -> Any:
    """Return a number above 0, which may be infinite."""
    if is_number(value) and value > 0:
        return value
    raise InputError(f"{name} is {shown(value)}; a number above 0 is allowed")


def number(name: str, value: Any) -> Any:
    """Return a number, which may be infinite; True and False are 1 and 0."""
    converted = _scalar(value)
    is_bool = isinstance(converted, bool | np.bool_)
    if not (is_number(converted) or is_bool) or converted != converted:
        raise InputError(f"{name} is {shown(value)}; a number is allowed")
    return converted


def whole(name: str, value: Any, least: int | None = None) -> int:
    """Return a whole number; True and False are 1 and 0."""
    converted = _scalar(value)
    is_whole = isinstance(converted, int | np.integer)
    if is_whole and (least is None or converted >= least):
        return int(converted)
    bounds = "" if least is None else f" of at least {least}"
    raise InputError(f"{name} is {shown(value)}; a whole number{bounds} is allowed")


def rounded_down(name: str, value: Any, least: int) -> int:
    """Return int(value)."""
    try:
        return whole(name, int(value), least)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{name} is {shown(value)}; a whole number of at least {least} is allowed"
        ) from error


def token_ids(name: str, value: Any, *, is_list: bool = False) -> Ids:
    """Return token ids as an array [ids], in any vocabulary: int, sequence, array or tensor.

    Ids that no vocabulary has, such as -1, are left in. With `is_list` an int is refused.
    """
    try:
        given = as_array(value)
        ids = np.asarray(list(given) if is_list else given)
    except (TypeError, ValueError):
        ids = np.asarray(None)
    if ids.dtype == object and ids.size and all(is_whole_number(token) for token in ids.flat):
        ids = np.asarray(np.clip(ids, -1, _BEYOND), np.int64)  # more digits than a tensor takes
    if ids.dtype.kind not in "iu" and ids.size:
        # A float that is a whole number is that token; any other is no token's number.
        is_whole = ids.dtype.kind == "f" and bool((ids == np.floor(ids)).all())
        if not is_whole or np.isinf(ids).any():
            raise InputError(
                f"{name} is {shown(value)}; "
                f"{'' if is_list else 'a token id or '}a list of token ids is allowed"
            )
    return ids.astype(np.int64).reshape(-1)


def prompt_ids(name: str, value: Any) -> Ids:
    """Return the ids of prompts, int64 [prompts, length]; those of one may be [length]."""
    ids = ids_array(value)
    if ids is None or ids.ndim not in (1, 2):
        raise InputError(f"{name} is {shown(value)}; token ids [prompts, length] are allowed")
    return np.atleast_2d(ids)


def flag(name: str, value: Any) -> bool:
    """Return bool(value)."""
    try:
        return bool(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is {shown(value)}; True or False is allowed") from error


def end_token_ids(name: str, value: Any) -> Ids:
    """Return token ids of which none is below 0, and at least one."""
    ids = token_ids(name, value)
    if not ids.size or (ids < 0).any() or np.asarray(as_array(value)).dtype.kind == "f":
        raise InputError(
            f"{name} is {shown(value)}; a token id or a list of token ids, each of at least 0, "
            "is allowed"
        )
    return ids


def _scalar(value: Any) -> Any:
    """Return the only number of an array or a tensor; other values as they are."""
    is_single = isinstance(value, np.ndarray) and value.size == 1
    return value.item() if is_single or (is_tensor(value) and value.numel() == 1) else value
