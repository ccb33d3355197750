"""Sizes in bytes as people write them: 512, 64KiB, 4MiB, 1.5GB."""

import re

from gptneo_onnx.models.errors import InputError, shown

_UNITS = {
    "": 1, "b": 1,
    "k": 1024, "kb": 1000, "kib": 1024,
    "m": 1024**2, "mb": 1000**2, "mib": 1024**2,
    "g": 1024**3, "gb": 1000**3, "gib": 1024**3,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([a-z]{0,3})", re.IGNORECASE | re.ASCII)


def bytes_of(text: str, option: str) -> int:
    """Return how many bytes an option's value means; K, M and G are powers of 1024.

    Raises:
        InputError: it is not a number with or without a unit.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise InputError(
            f"{option} is {shown(text)}; a number of bytes is allowed, with KiB, MiB, GiB, KB, MB "
            "or GB after it, such as 512MiB"
        )
    return int(float(found[1]) * _UNITS[found[2].lower()])
