"""Putting a graph together, node by node."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class GraphBuilder:
    """Nodes in the order in which they were added, and the small constants that they read."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    @property
    def constants(self) -> list[TensorProto]:
        return [*self._constants.values()]

    def has(self, tensor: str) -> bool:
        """Whether a node of that name was added."""
        return any(node.name == tensor for node in self.nodes)

    def add(
        self,
        operator: str,
        inputs: list[str],
        outputs: str | list[str],
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node, named as its first output, which is returned."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        name = outputs[0]
        self.nodes.append(
            helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes)
        )
        return name

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """An initializer of a few numbers, kept in the graph itself; the same name is one."""
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(values), name))
        return name
