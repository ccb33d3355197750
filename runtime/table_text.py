"""The text of one row of a table, checked: what reading JSON lines, Parquet and datasets shares."""

from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.files import MAX_ROW_BYTES


def checked_text(text: Any, field: str, source: str) -> str:
    """Return the value of a row's field, if it is a text.

    Args:
        text: the value.
        field: the field's name.
        source: the file and the row, for messages.

    Raises:
        InputError: it is no text, has a lone surrogate, or is longer than MAX_ROW_BYTES.
    """
    if not isinstance(text, str):
        raise InputError(f"{source}: its {field!r} is {shown(text)}; a text is expected")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"{source} has a lone surrogate, which no UTF-8 text can hold") from error
    if size > MAX_ROW_BYTES:
        raise too_long(field, source, size)
    return text


def too_long(field: str, source: str, size: int) -> InputError:
    """Return the error for a text of that many bytes."""
    return InputError(
        f"{source}: its {field!r} has {size} bytes, and at most {MAX_ROW_BYTES} are read; divide it"
    )


def no_field(field: str, source: str, fields: Any) -> InputError:
    """Return the error for a row without the field; `fields` are those that it has."""
    names = ", ".join(map(str, fields))
    return InputError(f"{source} has no text {field!r} (it has {shown(names)}); pass --field")
