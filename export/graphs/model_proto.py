"""The finished ONNX model of a graph: its nodes and contract, with references to its weights."""

from collections.abc import Sequence

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from gptneo_onnx.export.graphs.builder import MICROSOFT, GraphBuilder
from gptneo_onnx.export.weights.weight_group import WeightSpec
from gptneo_onnx.export.weights.weights_file import StoredWeights
from gptneo_onnx.models.graph import GraphContract, TensorSpec

OPSET = 21
IR_VERSION = 10


def graph_model(
    contract: GraphContract,
    graph: GraphBuilder,
    weights: Sequence[WeightSpec],
    stored: StoredWeights,
) -> ModelProto:
    """Return the model, with those of the weights that its nodes read."""
    read = {name for node in graph.nodes for name in node.input}
    initializers = [
        *(external_initializer(weight, stored) for weight in weights if weight.name in read),
        *graph.constants,
    ]
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain == MICROSOFT for node in graph.nodes):
        opsets.append(helper.make_opsetid(MICROSOFT, 1))
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "gpt_neo",
            [value_info(spec) for spec in contract.inputs],
            [value_info(spec) for spec in contract.outputs],
            initializers,
        ),
        producer_name="gptneo-onnx",
        ir_version=IR_VERSION,
        opset_imports=opsets,
    )


def value_info(spec: TensorSpec) -> ValueInfoProto:
    """Declare an input or output of a contract."""
    return helper.make_tensor_value_info(spec.name, spec.data_type.onnx, spec.axes)


def external_initializer(weight: WeightSpec, stored: StoredWeights) -> TensorProto:
    """Declare a weight whose bytes are in a weights file."""
    tensor = TensorProto(
        name=weight.name,
        data_type=weight.data_type.onnx,
        dims=weight.shape,
        data_location=TensorProto.EXTERNAL,
    )
    place = stored.places[weight.name]
    location = {"location": place.file, "offset": place.offset, "length": weight.nbytes}
    for key, value in location.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
