"""A graph's file: nodes and contract, its weights by reference into their file."""

from collections.abc import Sequence

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from gptneo_onnx.export.graphs.builder import MICROSOFT, GraphBuilder
from gptneo_onnx.export.weights.graph_weight import GraphWeight
from gptneo_onnx.export.weights.weights_file import StoredWeights
from gptneo_onnx.models.graph import GraphContract, TensorSpec

OPSET = 21
IR_VERSION = 10


def graph_model(
    contract: GraphContract,
    graph: GraphBuilder,
    weights: Sequence[GraphWeight],
    stored: StoredWeights,
) -> ModelProto:
    """The model, with those of the weights that a node reads, where they are stored."""
    read = {name for node in graph.nodes for name in node.input}
    initializers = [
        *(external_initializer(weight, stored) for weight in weights if weight.name in read),
        *graph.constants,
    ]
    inputs, outputs = (
        [value_info(spec) for spec in specs] for specs in (contract.inputs, contract.outputs)
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain == MICROSOFT for node in graph.nodes):
        opsets.append(helper.make_opsetid(MICROSOFT, 1))
    return helper.make_model(
        helper.make_graph(graph.nodes, "gpt_neo", inputs, outputs, initializers),
        producer_name="gptneo-onnx",
        ir_version=IR_VERSION,
        opset_imports=opsets,
    )


def value_info(spec: TensorSpec) -> ValueInfoProto:
    """An input or output as a contract declares it."""
    return helper.make_tensor_value_info(spec.name, spec.data_type.onnx, spec.axes)


def external_initializer(weight: GraphWeight, stored: StoredWeights) -> TensorProto:
    """A weight where it is stored."""
    tensor = TensorProto(
        name=weight.name,
        data_type=weight.data_type.onnx,
        dims=weight.shape,
        data_location=TensorProto.EXTERNAL,
    )
    place = {
        "location": stored.file,
        "offset": stored.offsets[weight.name],
        "length": weight.nbytes,
    }
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
