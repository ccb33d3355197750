"""Building a graph node by node."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class GraphBuilder:
    """The nodes of a graph, in the order in which they were added, and its small constants."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    @property
    def constants(self) -> list[TensorProto]:
        return [*self._constants.values()]

    def has(self, node: str) -> bool:
        """Whether a node of that name (its first output's) was added."""
        return any(added.name == node for added in self.nodes)

    def add(
        self,
        operator: str,
        inputs: list[str],
        outputs: str | list[str],
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node; returns its name, which is that of its first output."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        name = outputs[0]
        self.nodes.append(
            helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes)
        )
        return name

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Add a small initializer that is kept in the graph itself, once for each name."""
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(values), name))
        return name
