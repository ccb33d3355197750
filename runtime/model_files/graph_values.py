"""Typed views of a graph's inputs and outputs: their names, types and axes.

Names are those of onnx.proto3.
"""

from dataclasses import dataclass

from gptneo_onnx.runtime.model_files import onnx_schema as schema
from gptneo_onnx.runtime.model_files.onnx_schema import ModelSchemas
from gptneo_onnx.runtime.model_files.protobuf import Message


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
