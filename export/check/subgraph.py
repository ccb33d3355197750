"""Runs a few consecutive nodes of a graph on the CPU, without the rest of the graph."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from gptneo_onnx.export.check.onnx_runtime import import_onnx_runtime

Tensors = dict[str, NDArray[Any]]


class Subgraph:
    """Some nodes of a graph in a session, which maps only the weights that those nodes read."""

    def __init__(
        self,
        model: ModelProto,
        nodes: Sequence[NodeProto],
        outputs: Iterable[str],
        tensors: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> None:
        """Open the session.

        Args:
            model: the whole graph, whose initializers the nodes may read.
            nodes: the nodes to run, in the graph's order.
            outputs: the tensors that `run` returns, all produced by the nodes.
            tensors: at least the other tensors that the nodes read, of the types and shapes that
                `run` will get.
            folder: where the graph's weights file is; None if all weights are in `tensors`.
        """
        self._outputs = [*outputs]
        self._session = _open(_subgraph_model(model, nodes, self._outputs, tensors), folder)
        self._inputs = [value.name for value in self._session.get_inputs()]

    def run(self, tensors: Mapping[str, NDArray[Any]]) -> Tensors:
        """Return the outputs by name; `tensors` may hold more than the nodes read."""
        feeds = {name: tensors[name] for name in self._inputs}
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))


def produced_by(nodes: Iterable[NodeProto]) -> set[str]:
    """Return the names of the tensors that the nodes produce."""
    return {name for node in nodes for name in node.output if name}


def read_by(nodes: Iterable[NodeProto]) -> set[str]:
    """Return the names of the tensors that the nodes read, weights and each other's outputs too."""
    return {name for node in nodes for name in node.input if name}


def _subgraph_model(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    outputs: Sequence[str],
    tensors: Mapping[str, NDArray[Any]],
) -> ModelProto:
    read = read_by(nodes) - produced_by(nodes)
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    inputs = [
        _value_info(name, tensors[name])
        for name in sorted(read - {tensor.name for tensor in weights})
    ]
    untyped_outputs = [ValueInfoProto(name=name) for name in outputs]  # ONNX Runtime infers types
    graph = helper.make_graph(nodes, "subgraph", inputs, untyped_outputs, weights)
    return helper.make_model(
        graph, ir_version=model.ir_version, opset_imports=list(model.opset_import)
    )


def _value_info(name: str, tensor: NDArray[np.generic]) -> ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape
    )


def _open(model: ModelProto, folder: Path | None) -> Any:
    onnxruntime = import_onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # the arena would grow to twice what a run needs
    # Prepacked weights are a second copy, which pays off only over many steps.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder)
        )
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
