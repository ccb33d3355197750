"""Typed views of a graph and its operators.

Names are those of onnx.proto3.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.runtime.model_files.graph_tensors import Tensor
from gptneo_onnx.runtime.model_files.graph_values import Value
from gptneo_onnx.runtime.model_files.onnx_schema import ModelSchemas
from gptneo_onnx.runtime.model_files.protobuf import Message

# The fields that hold an attribute's value, by its number in onnx.AttributeProto.AttributeType.
_VALUE_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings"}


@dataclass(frozen=True)
class Attribute:
    """An attribute of an operator."""

    message: Message
    schemas: ModelSchemas

    @property
    def name(self) -> str:
        return self.message.text("name")

    @property
    def kind(self) -> int:
        """Its number in onnx.AttributeProto.AttributeType; 0 in a damaged file."""
        return self.message.integer("type")

    @property
    def is_of_its_kind(self) -> bool:
        """Whether it holds no value but one of the kind that it names."""
        own = _VALUE_FIELDS.get(self.kind)
        others = (field for field in _VALUE_FIELDS.values() if field != own)
        return own is not None and not any(field in self.message for field in others)

    @property
    def integer(self) -> int:
        return signed(self.message.integer("i"))

    @property
    def integers(self) -> list[int]:
        return [*map(signed, self.message.integers("ints"))]

    @property
    def number(self) -> float:
        """Its float32; 0 if it is missing."""
        view = self.message.view("f")
        return float(struct.unpack("<f", view)[0]) if view else 0.0

    @property
    def float_count(self) -> int:
        """How many float32 it lists."""
        return sum(len(view) for view in self.message.views("floats")) // 4

    @cached_property
    def tensor(self) -> Tensor | None:
        if "t" not in self.message:
            return None
        return Tensor(Message(self.schemas.tensor, self.message.view("t")))

    @property
    def graph(self) -> "Graph | None":
        if "g" not in self.message:
            return None
        return Graph(Message(self.schemas.graph, self.message.view("g")), self.schemas)


class Node:
    """An operator at its place in the graph.

    Attributes:
        operator: its type.
        domain: empty for the standard operators.
        inputs: the names of its inputs; empty where one is left out.
        outputs: the names of its outputs, likewise.
    """

    __slots__ = ("domain", "inputs", "message", "operator", "outputs", "schemas")

    def __init__(self, message: Message, schemas: ModelSchemas) -> None:
        self.message = message
        self.schemas = schemas
        self.operator = message.text("op_type")
        self.domain = message.text("domain")
        self.inputs = _names(message, "input")
        self.outputs = _names(message, "output")

    def attributes(self) -> dict[str, Attribute]:
        """Return its attributes by name.

        Raises:
            ModelFileError: it has one twice, or one of another kind than it says.
        """
        found: dict[str, Attribute] = {}
        for view in self.message.views("attribute"):
            attribute = Attribute(Message(self.schemas.attribute, view), self.schemas)
            name = attribute.name
            if name in found or not attribute.is_of_its_kind:
                raise ModelFileError(
                    f"the operator {shown(self.operator)} has its attribute {shown(name)} twice, "
                    "or of another kind than it says"
                )
            found[name] = attribute
        return found


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


def signed(number: int) -> int:
    """Return a number of 64 bits that the reader gives without a sign."""
    return number - 2**64 if number >= 2**63 else number


def _names(message: Message, field: str) -> list[str]:
    try:
        return [str(view, "utf-8") for view in message.views(field)]
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{message.schema.name}'s {field} is not UTF-8") from error
