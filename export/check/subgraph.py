"""A few consecutive nodes of a graph, run by themselves on the CPU."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from gptneo_onnx.export.check.onnx_runtime import import_onnx_runtime

Tensors = dict[str, NDArray[Any]]


class Subgraph:
    """Nodes with a session of their own: only the weights that they read are ever mapped."""

    def __init__(
        self,
        model: ModelProto,
        nodes: Sequence[NodeProto],
        outputs: Iterable[str],
        tensors: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> None:
        """Make the session.

        Args:
            model: the graph, whose initializers the nodes may read.
            nodes: in the graph's order.
            outputs: what `run` is to give, all made by the nodes.
            tensors: everything else that the nodes read, of the types and shapes that `run` gets.
            folder: where the graph's weights are, if any.
        """
        self._outputs = [*outputs]
        self._session = _open(_piece_model(model, nodes, self._outputs, tensors), folder)
        self._inputs = [value.name for value in self._session.get_inputs()]

    def run(self, tensors: Mapping[str, NDArray[Any]]) -> Tensors:
        """The outputs by name, for at least the inputs in `tensors`."""
        feeds = {name: tensors[name] for name in self._inputs}
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))


def produced_by(nodes: Iterable[NodeProto]) -> set[str]:
    """The tensors that the nodes make."""
    return {name for node in nodes for name in node.output if name}


def read_by(nodes: Iterable[NodeProto]) -> set[str]:
    """The tensors that the nodes read, weights and those of their own making too."""
    return {name for node in nodes for name in node.input if name}


def _piece_model(
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
    named = [ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "piece", inputs, named, weights)
    return helper.make_model(
        graph, ir_version=model.ir_version, opset_imports=list(model.opset_import)
    )


def _value_info(name: str, tensor: NDArray[np.generic]) -> ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape
    )


def _open(piece: ModelProto, folder: Path | None) -> Any:
    onnxruntime = import_onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # it would grow to twice what a run needs
    # Packed weights are a second copy that pays off over many steps only.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder)
        )
    return onnxruntime.InferenceSession(
        piece.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
