"""A strict reader of protobuf's wire format, as far as checking a graph needs it.

Real parsers are lenient: the last of several values wins, a message given twice is merged, unknown
fields, fields of another wire type and unknown values of an enumeration are skipped, numbers are
truncated to 32 bits. A check must see the same file as the parser that reads it afterwards, so all
of that is refused here; the files that we write have none of it.

Format: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from gptneo_onnx.models.errors import ModelFileError

# A graph of 1024 layers has 10,000 nodes. Each value takes far more memory than its bytes.
MAX_FIELDS = 100_000
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
_MAX_TAG_BYTES = 5  # of a tag and of a length, which parsers read in 32 bits
_SIGN_BIT = 2**63

Value = int | memoryview


class Kind(Enum):
    """What a field holds: its protobuf type, and whether it is repeated.

    INTEGER is int64, INTEGER32 int32, SIZES are int64 that must not be negative, ENUM is one of the
    values that the schema lists. FLOATS are kept as bytes, four for each number.
    """

    INTEGER = auto()
    INTEGER32 = auto()
    ENUM = auto()
    INTEGERS = auto()
    SIZES = auto()
    FLOAT = auto()
    FLOATS = auto()
    BYTES = auto()
    REPEATED_BYTES = auto()

    @property
    def wire_type(self) -> int:
        if self in (Kind.FLOAT, Kind.FLOATS):
            return _FIXED32
        return _LENGTH_DELIMITED if self in (Kind.BYTES, Kind.REPEATED_BYTES) else _VARINT

    @property
    def is_repeated(self) -> bool:
        return self in (Kind.INTEGERS, Kind.SIZES, Kind.FLOATS, Kind.REPEATED_BYTES)


@dataclass(frozen=True)
class Schema:
    """What a message may hold.

    Attributes:
        name: the message's, for errors.
        fields: (name, kind) by number.
        enums: the allowed values of each field of kind ENUM, by name.
        one_of: the names of fields of which at most one may be there: a parser keeps the last.
    """

    name: str
    fields: Mapping[int, tuple[str, Kind]]
    enums: Mapping[str, range] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()

    def extended(self, fields: Mapping[int, tuple[str, Kind]]) -> "Schema":
        """Return the schema with more fields allowed."""
        return replace(self, fields={**self.fields, **fields})


class Message:
    """A message, whose fields are read by name.

    Raises:
        ModelFileError: it is not well-formed, or has a field that its schema does not allow.
    """

    def __init__(self, schema: Schema, content: memoryview) -> None:
        self.schema = schema
        self._values: dict[str, list[Value]] = {}
        for count, (number, wire_type, value) in enumerate(_fields(content)):
            if count >= MAX_FIELDS:
                raise ModelFileError(f"{schema.name} has more than {MAX_FIELDS} fields")
            self._add(number, wire_type, value)
        alternatives = [name for name in schema.one_of if name in self]
        if len(alternatives) > 1:
            raise ModelFileError(f"{schema.name} has both {' and '.join(alternatives)}")

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def integer(self, name: str) -> int:
        """Return a number; 0 if it is missing."""
        return next(iter(self.integers(name)), 0)

    def integers(self, name: str) -> list[int]:
        """Return all values of a repeated number."""
        return [value for value in self._values.get(name, ()) if isinstance(value, int)]

    def view(self, name: str) -> memoryview:
        """Return bytes or a message; empty if it is missing."""
        return next(iter(self.views(name)), memoryview(b""))

    def views(self, name: str) -> list[memoryview]:
        """Return all values of repeated bytes or messages."""
        return [value for value in self._values.get(name, ()) if isinstance(value, memoryview)]

    def text(self, name: str) -> str:
        """Return a text, empty if it is missing; raises ModelFileError if it is not UTF-8."""
        try:
            return str(self.view(name), "utf-8")
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{self.schema.name}'s {name} is not UTF-8") from error

    def _add(self, number: int, wire_type: int, value: Value) -> None:
        if number not in self.schema.fields:
            raise ModelFileError(f"{self.schema.name} has a field {number}; we write none")
        name, kind = self.schema.fields[number]
        values = self._values.setdefault(name, [])
        # Parsers take repeated numbers packed and one by one, whichever the schema says.
        if kind in (Kind.INTEGERS, Kind.SIZES) and wire_type == _LENGTH_DELIMITED:
            assert isinstance(value, memoryview)
            values.extend(self._number(name, kind, each) for each in _packed_integers(value))
        elif kind is Kind.FLOATS and wire_type == _LENGTH_DELIMITED:
            assert isinstance(value, memoryview)
            if len(value) % _FIXED_BYTES[_FIXED32]:
                raise ModelFileError(f"{self.schema.name}'s {name} ends inside a number")
            values.append(value)
        elif wire_type != kind.wire_type:
            raise ModelFileError(f"{self.schema.name}'s {name} has wire type {wire_type}")
        elif values and not kind.is_repeated:
            raise ModelFileError(f"{self.schema.name} has its {name} twice")
        else:
            values.append(self._number(name, kind, value) if isinstance(value, int) else value)

    def _number(self, name: str, kind: Kind, value: int) -> int:
        """Return a varint's value as a parser takes it; refuse what it would cut or pass over."""
        number = value - 2 * _SIGN_BIT if value >= _SIGN_BIT else value
        if kind is Kind.INTEGER32 and not -(2**31) <= number < 2**31:
            raise ModelFileError(f"{self.schema.name}'s {name} is {number}, of more than 32 bits")
        if kind is Kind.ENUM and number not in self.schema.enums[name]:
            raise ModelFileError(f"{self.schema.name}'s {name} is {number}, which ONNX has not")
        if kind is Kind.SIZES and number < 0:
            raise ModelFileError(f"{self.schema.name}'s {name} holds {number}; sizes are expected")
        return number


def _fields(content: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Yield (field number, wire type, value); the value is an int for varints, otherwise a view."""
    position = 0
    while position < len(content):
        tag, position = _varint(content, position, _MAX_TAG_BYTES)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, position = _varint(content, position)
            yield number, wire_type, value
            continue
        if wire_type == _LENGTH_DELIMITED:
            length, position = _varint(content, position, _MAX_TAG_BYTES)
        elif wire_type in _FIXED_BYTES:
            length = _FIXED_BYTES[wire_type]
        else:
            raise ModelFileError(f"the graph is damaged: wire type {wire_type} at byte {position}")
        if length > len(content) - position:
            raise ModelFileError(f"the graph is damaged: it ends inside a field of {length} bytes")
        yield number, wire_type, content[position : position + length]
        position += length


def _packed_integers(content: memoryview) -> list[int]:
    integers: list[int] = []
    position = 0
    while position < len(content):
        if len(integers) >= MAX_FIELDS:
            raise ModelFileError(f"a list has more than {MAX_FIELDS} numbers")
        integer, position = _varint(content, position)
        integers.append(integer)
    return integers


def _varint(
    content: memoryview, position: int, most_bytes: int = _MAX_VARINT_BYTES
) -> tuple[int, int]:
    """Return (number, position after it); the number is unsigned, below 2^64."""
    result = 0
    for index in range(most_bytes):
        if position + index >= len(content):
            raise ModelFileError("the graph is damaged: it ends inside a number")
        byte = content[position + index]
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if result >= 2**64:
                break
            return result, position + index + 1
    raise ModelFileError(
        f"the graph is damaged: a number of more than {min(7 * most_bytes, 64)} bits"
    )
