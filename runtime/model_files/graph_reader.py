"""Typed views of an ONNX model: its opsets, weights, operators, inputs and outputs.

fused_check.py and portable_check.py walk a model through these; what they accept is theirs to say.
A view reads its message when it is made and decodes a field when it is asked for, so that a check
reports the first fault in its own order. No view reads a weight's values.

Names are those of onnx.proto3.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.runtime.model_files import onnx_schema as schema
from gptneo_onnx.runtime.model_files.onnx_schema import ModelSchemas
from gptneo_onnx.runtime.model_files.protobuf import Message

# Values of TensorProto.data_location.
INLINE, EXTERNAL = 0, 1
# Bits of an element by its number in onnx.TensorProto.DataType.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16,
    21: 4, 22: 4,
}  # fmt: skip
_MAX_DIGITS = 20  # of 2^64


@dataclass(frozen=True)
class Signature:
    """The element type and axes of an input, an output or a weight.

    Attributes:
        element_type: its number in onnx.TensorProto.DataType.
        axes: for each a size, a name, or None where the graph gives neither.
    """

    element_type: int
    axes: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Place:
    """The part of another file that holds a weight: `length` bytes, from byte `offset` on."""

    location: str
    offset: int
    length: int


@dataclass(frozen=True)
class Opset:
    """An operator domain that the model imports."""

    message: Message

    @property
    def domain(self) -> str:
        """Empty for the standard operators."""
        return self.message.text("domain")

    @property
    def version(self) -> int:
        return self.message.integer("version")


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
        bits = _BITS.get(self.element_type)
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


@dataclass(frozen=True)
class Axis:
    """An axis of an input or output. Well-formed, it has a size or a name, or neither."""

    message: Message

    @property
    def size(self) -> int | None:
        return self.message.integer("dim_value") if "dim_value" in self.message else None

    @property
    def name(self) -> str | None:
        return self.message.text("dim_param") if "dim_param" in self.message else None


@dataclass(frozen=True)
class TensorType:
    """The type of an input or output; `axes` is None where the rank is unknown."""

    element_type: int
    axes: tuple[Axis, ...] | None


@dataclass(frozen=True)
class Value:
    """An input or output of the graph."""

    message: Message
    schemas: ModelSchemas

    @property
    def name(self) -> str:
        return self.message.text("name")

    def tensor_type(self) -> TensorType:
        value_type = Message(self.schemas.value_type, self.message.view("type"))
        tensor_type = Message(schema.TENSOR_TYPE, value_type.view("tensor_type"))
        element_type = tensor_type.integer("elem_type")
        if "shape" not in tensor_type:
            return TensorType(element_type, None)
        dimensions = Message(schema.SHAPE, tensor_type.view("shape")).views("dim")
        axes = (Axis(Message(self.schemas.dimension, view)) for view in dimensions)
        return TensorType(element_type, tuple(axes))


@dataclass(frozen=True)
class Attribute:
    """An attribute of an operator."""

    message: Message
    schemas: ModelSchemas

    @property
    def tensor(self) -> Tensor | None:
        if "t" not in self.message:
            return None
        return Tensor(Message(self.schemas.tensor, self.message.view("t")))

    @property
    def graph(self) -> "Graph | None":
        if "g" not in self.message:
            return None
        return Graph(Message(self.schemas.graph, self.message.view("g")), self.schemas)


@dataclass(frozen=True)
class Node:
    """An operator at its place in the graph."""

    message: Message
    schemas: ModelSchemas

    @property
    def operator(self) -> str:
        return self.message.text("op_type")

    @property
    def domain(self) -> str:
        """Empty for the standard operators."""
        return self.message.text("domain")

    def attributes(self) -> Iterator[Attribute]:
        for view in self.message.views("attribute"):
            yield Attribute(Message(self.schemas.attribute, view), self.schemas)


@dataclass(frozen=True)
class Graph:
    """The model's graph, or one that an operator holds."""

    message: Message
    schemas: ModelSchemas

    def initializers(self) -> Iterator[Tensor]:
        for view in self.message.views("initializer"):
            yield Tensor(Message(self.schemas.tensor, view))

    def nodes(self) -> Iterator[Node]:
        for view in self.message.views("node"):
            yield Node(Message(self.schemas.node, view), self.schemas)

    def inputs(self) -> dict[str, Value]:
        """Return the inputs by name; raises ModelFileError if two have the same."""
        return self._values("input")

    def outputs(self) -> dict[str, Value]:
        """Return the outputs by name; raises ModelFileError if two have the same."""
        return self._values("output")

    def _values(self, kind: str) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for view in self.message.views(kind):
            value = Value(Message(self.schemas.value, view), self.schemas)
            if value.name in values:
                raise ModelFileError(f"the graph has the {kind} {shown(value.name)} twice")
            values[value.name] = value
        return values


class Model:
    """A model file.

    Raises:
        ModelFileError: here and in every view, a message that is damaged or has a field that its
            schema does not list.
    """

    def __init__(self, content: memoryview, schemas: ModelSchemas) -> None:
        self.message = Message(schemas.model, content)
        self.schemas = schemas

    def opsets(self) -> Iterator[Opset]:
        for view in self.message.views("opset_import"):
            yield Opset(Message(schema.OPSET, view))

    def metadata_keys(self) -> Iterator[str]:
        for view in self.message.views("metadata_props"):
            yield Message(schema.PROPERTY, view).text("key")

    def graph(self) -> Graph:
        if "graph" not in self.message:
            raise ModelFileError("the model has no graph")
        return Graph(Message(self.schemas.graph, self.message.view("graph")), self.schemas)
