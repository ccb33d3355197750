"""Typed views of a model's weights and constants: their types, shapes and places.

Names are those of onnx.proto3.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.runtime.model_files import onnx_schema as schema
from gptneo_onnx.runtime.model_files.protobuf import Message

# Values of TensorProto.data_location.
INLINE, EXTERNAL = 0, 1
# Bits of an element by its number in onnx.TensorProto.DataType.
ELEMENT_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16,
    21: 4, 22: 4,
}  # fmt: skip
_MAX_DIGITS = 20  # of 2^64


@dataclass(frozen=True)
class Place:
    """The part of another file that holds a weight: `length` bytes, from byte `offset` on."""

    location: str
    offset: int
    length: int


@dataclass(frozen=True)
class Tensor:
    """A weight, or the constant of an operator."""

    message: Message

    @property
    def name(self) -> str:
        return self.message.text("name")

    @property
    def element_type(self) -> int:
        return self.message.integer("data_type")

    @property
    def dims(self) -> list[int]:
        return self.message.integers("dims")

    @property
    def data_location(self) -> int:
        """Where it says that it lies: INLINE, EXTERNAL or, in a damaged file, another number."""
        return self.message.integer("data_location")

    @property
    def has_place(self) -> bool:
        """Whether it names a place in another file."""
        return "external_data" in self.message

    @property
    def raw_size(self) -> int | None:
        """Bytes of raw_data, or None if it has none."""
        return len(self.message.view("raw_data")) if "raw_data" in self.message else None

    def size(self) -> int:
        """Return the bytes that its elements take.

        Raises:
            ModelFileError: its elements are of an unknown type, or texts.
        """
        bits = ELEMENT_BITS.get(self.element_type)
        if bits is None:
            raise ModelFileError(f"{shown(self.name)} is of a type that no weight has")
        return (prod(self.dims) * bits + 7) // 8

    def check_size(self, length: int) -> None:
        """Raise ModelFileError unless its elements take `length` bytes."""
        if length != self.size():
            raise ModelFileError(f"{shown(self.name)} has shape {self.dims}, but {length} bytes")

    def place(self, required: AbstractSet[str], optional: AbstractSet[str]) -> Place:
        """Read its place in another file.

        By default the offset is 0, and the length what its elements take.

        Args:
            required: the entries that there must be, `location` among them.
            optional: the entries that there may be.

        Raises:
            ModelFileError: an entry is missing, unknown, there twice or not of its kind.
        """
        entries = [Message(schema.PLACE, entry) for entry in self.message.views("external_data")]
        pairs = [(entry.text("key"), entry.text("value")) for entry in entries]
        keys, values = [key for key, _ in pairs], dict(pairs)
        if len(values) < len(keys) or not required <= values.keys() <= required | optional:
            raise ModelFileError(
                f"the place of {shown(self.name)} has the entries {shown(keys)}; "
                f"{', '.join(sorted(required | optional))}, each once, are allowed"
            )
        offset = self._number("offset", values["offset"]) if "offset" in values else 0
        length = self._number("length", values["length"]) if "length" in values else self.size()
        return Place(values["location"], offset, length)

    def _number(self, key: str, value: str) -> int:
        """Read a number of a place more strictly than int(), which takes signs and spaces."""
        if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
            raise ModelFileError(
                f"the {key} of {shown(self.name)} is {shown(value)}; a size is expected"
            )
        return int(value)
