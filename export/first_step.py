"""Running the first step of a graph that was just written, a few nodes at a time.

Every node and every weight goes through ONNX Runtime, as in one session, but only one layer's
weights are mapped at any time: an export stays within bounded memory, however large the model.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from gptneo_onnx.export.onnx_runtime import import_onnx_runtime
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.graph import GraphContract

NODES_AT_ONCE = 8

Tensors = dict[str, NDArray[Any]]


def first_logits(model: ModelProto, folder: Path, contract: GraphContract) -> NDArray[np.float32]:
    """Logits [1, vocab] behind token 0 as the first of a sequence.

    Args:
        model: the graph, its weights in `folder`.
        contract: what its inputs are, of types that ONNX Runtime's CPU has kernels for.
    """
    tensors = _first_inputs(contract)
    wanted_later = _last_uses(model)
    for index, nodes in enumerate(_pieces(model)):
        piece = _sub_model(model, nodes, wanted_later, index, tensors)
        tensors |= _run(piece, folder, tensors)
    return tensors[names.LOGITS]


def _first_inputs(contract: GraphContract) -> Tensors:
    """One token, id 0 at position 0, over caches of the least size."""
    sizes = {names.BATCH: 1, names.SEQUENCE: 1, names.ROWS: 1, names.CAPACITY: 1}
    inputs = {
        spec.name: np.zeros(spec.shape(sizes), spec.data_type.value) for spec in contract.inputs
    }
    inputs[names.TOTAL_SEQUENCE_LENGTH] += 1
    return inputs


def _pieces(model: ModelProto) -> Iterator[list[NodeProto]]:
    nodes = list(model.graph.node)
    for start in range(0, len(nodes), NODES_AT_ONCE):
        yield nodes[start : start + NODES_AT_ONCE]


def _last_uses(model: ModelProto) -> dict[str, int]:
    """The last piece that reads each tensor; logits are read behind the last of all."""
    uses = {
        name: index
        for index, nodes in enumerate(_pieces(model))
        for node in nodes
        for name in node.input
    }
    return uses | {names.LOGITS: len(model.graph.node)}


def _sub_model(
    model: ModelProto,
    nodes: list[NodeProto],
    last_uses: Mapping[str, int],
    index: int,
    tensors: Tensors,
) -> ModelProto:
    produced = {name for node in nodes for name in node.output if name}
    read = {name for node in nodes for name in node.input if name} - produced
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    declared = {value.name: value for value in model.graph.input}
    inputs = [
        declared.get(name) or _value_info(name, tensors[name])
        for name in sorted(read - {tensor.name for tensor in weights})
    ]
    outputs = [
        ValueInfoProto(name=name) for name in sorted(produced) if last_uses.get(name, -1) > index
    ]
    graph = helper.make_graph(nodes, f"piece {index}", inputs, outputs, weights)
    return helper.make_model(
        graph, ir_version=model.ir_version, opset_imports=list(model.opset_import)
    )


def _value_info(name: str, tensor: NDArray[Any]) -> ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape
    )


def _run(piece: ModelProto, folder: Path, tensors: Tensors) -> Tensors:
    onnxruntime = import_onnx_runtime()
    options = onnxruntime.SessionOptions()
    # Packed weights are a second copy that pays off over many steps only.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    session = onnxruntime.InferenceSession(
        piece.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = [value.name for value in session.get_outputs()]
    feeds = {value.name: tensors[value.name] for value in session.get_inputs()}
    return dict(zip(outputs, session.run(outputs, feeds), strict=True))
