"""A model file as a whole: what it imports, and its graph.

fused_check.py and portable_check.py walk a model through the typed views of graph_nodes.py,
graph_tensors.py and graph_values.py; what they accept is theirs to say. A view reads its message
when it is made and decodes a field when it is asked for, so that a check reports the first fault in
its own order. No view reads a weight's values, except those of small constants.

Names are those of onnx.proto3.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.model_files import onnx_schema as schema
from gptneo_onnx.runtime.model_files.graph_nodes import Graph
from gptneo_onnx.runtime.model_files.onnx_schema import ModelSchemas
from gptneo_onnx.runtime.model_files.protobuf import Message


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
