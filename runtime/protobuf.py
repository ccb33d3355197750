"""Reading protobuf's wire format: as much of it as the check of a graph needs.

Format: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator

from gptneo_onnx.models.errors import ModelFileError

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10

Field = tuple[int, "int | memoryview"]


def fields(message: memoryview) -> Iterator[Field]:
    """(field number, value) of a message: an int for numbers, a view for bytes and messages.

    Raises:
        ModelFileError: the message is not well-formed.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == LENGTH_DELIMITED:
            length, position = _varint(message, position)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise ModelFileError(f"the graph is damaged: wire type {wire_type} at byte {position}")
        if length > len(message) - position:
            raise ModelFileError(f"the graph is damaged: it ends inside a field of {length} bytes")
        yield number, message[position : position + length]
        position += length


def packed_integers(value: "int | memoryview") -> list[int]:
    """The integers of a repeated field, packed or one at a time."""
    if isinstance(value, int):
        return [value]
    integers, position = [], 0
    while position < len(value):
        integer, position = _varint(value, position)
        integers.append(integer)
    return integers


def message_bytes(value: "int | memoryview") -> memoryview:
    """The value of a field that must hold bytes."""
    if isinstance(value, int):
        raise ModelFileError("the graph is damaged: a number where a message is expected")
    return value


def text(value: "int | memoryview") -> str:
    """The value of a field that must hold UTF-8 text."""
    try:
        return str(message_bytes(value), "utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError("the graph is damaged: a name is not UTF-8") from error


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(message):
            raise ModelFileError("the graph is damaged: it ends inside a number")
        byte = message[position + index]
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return result, position + index + 1
    raise ModelFileError("the graph is damaged: a number of more than ten bytes")
