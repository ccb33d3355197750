"""The portable graph as Optimum traces it, its faults repaired.

- Weights come from the checkpoint, block by block, into one data file that is never appended to.
- The embedding is stored once: logits are its product as it lies, not a transposed copy.
- Linear layers are stored as they are multiplied by, without a Transpose at every start.
- Tables that every layer has a copy of (masks of [context, context]) are stored once.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from gptneo_onnx.export.checkpoint.checkpoint import PREFIX, Checkpoint
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.embedding import table_weight
from gptneo_onnx.export.graphs.linear import FloatLinear, Layer
from gptneo_onnx.export.graphs.model_proto import external_initializer, value_info
from gptneo_onnx.export.graphs.optimum_trace import trace
from gptneo_onnx.export.weights.graph_weight import GraphWeight
from gptneo_onnx.export.weights.weights_file import plan_offsets, write_weights
from gptneo_onnx.models.graph import (
    EMBEDDING,
    INPUT_IDS,
    LOGITS,
    DataType,
    GraphContract,
    NumberFormat,
    Precision,
)
from gptneo_onnx.models.portable_graph import portable_contract

# Smaller constants stay in the graph.
_STORED_BYTES = 1024


def write_optimum_graph(
    source: Checkpoint, path: Path, weights_file: Path, progress: bool
) -> GraphContract:
    """Trace, repair and write the graph, and its weights beside it.

    Raises:
        ModelFileError: a tensor of the checkpoint is missing or has another shape.
    """
    contract = portable_contract(source.config, NumberFormat.of(Precision.FP32))
    model = trace(source)
    weights = _Repairs(source, model.graph, contract).weights()
    stored = plan_offsets(weights_file.name, weights)
    model.graph.initializer.extend(external_initializer(each, stored) for each in weights)
    path.write_bytes(model.SerializeToString())
    write_weights(weights_file, weights, stored, progress)
    return contract


class _Repairs:
    """Turns a traced graph's parameters into weights, one kind after the other."""

    def __init__(self, source: Checkpoint, graph: onnx.GraphProto, contract: GraphContract) -> None:
        self.source = source
        self.graph = graph
        self.contract = contract
        wanted = {spec.name for spec in contract.inputs}
        self.parameters = {
            value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
            for value in graph.input
            if value.name not in wanted
        }

    def weights(self) -> list[GraphWeight]:
        """The weights of the graph, which is repaired on the way."""
        head = self._multiply_by_the_embedding_as_it_lies()
        layers = self._store_linear_layers_transposed()
        tables = [
            table_weight(name, self._tensor(name, shape), DataType.FLOAT32)
            for name, shape in self.parameters.items()
            if name not in layers and name != head
        ]
        constants = self._store_large_constants_once()
        for values, specs in (
            (self.graph.input, self.contract.inputs),
            (self.graph.output, self.contract.outputs),
        ):
            del values[:]
            values.extend(value_info(spec) for spec in specs)
        return [*tables, *layers.values(), *constants]

    def _tensor(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        return self.source.tensor(name.removeprefix(PREFIX), shape)

    def _multiply_by_the_embedding_as_it_lies(self) -> str:
        """Gemm takes [vocab, hidden]; the name of a second parameter for it that is not needed."""
        [product] = [node for node in self.graph.node if LOGITS in node.output]
        transposes = {
            node.output[0]: node for node in self.graph.node if node.op_type == "Transpose"
        }
        transpose = transposes[product.input[1]]
        traced, kept = transpose.input[0], transpose.input[0]
        if self.source.config.tie_word_embeddings:
            [kept] = [name for name in self.parameters if name.endswith(EMBEDDING)]
        hidden, vocab = self.source.config.hidden_size, self.source.config.vocab_size
        nodes = [
            _constant("logits.flat_shape", [-1, hidden]),
            _constant("logits.vocab", [vocab]),
            helper.make_node("Reshape", [product.input[0], "logits.flat_shape"], ["logits.flat"]),
            helper.make_node("Gemm", ["logits.flat", kept], ["logits.product"], transB=1),
            helper.make_node("Shape", [INPUT_IDS], ["logits.batch_and_sequence"]),
            helper.make_node(
                "Concat", ["logits.batch_and_sequence", "logits.vocab"], ["logits.shape"], axis=0
            ),
            helper.make_node("Reshape", ["logits.product", "logits.shape"], [LOGITS]),
        ]
        self._replace([transpose, product], nodes)
        return traced if traced != kept else ""

    def _store_linear_layers_transposed(self) -> dict[str, GraphWeight]:
        """Weights [out, in] that are only read through a Transpose, as [in, out]."""
        layers = {}
        for node in [node for node in self.graph.node if node.op_type == "Transpose"]:
            name = node.input[0]
            readers = [other for other in self.graph.node if name in other.input]
            if name not in self.parameters or len(readers) > 1:
                continue
            layer = Layer(name, [self._tensor(name, self.parameters[name])], lambda: None)
            [layers[name]] = FloatLinear(DataType.FLOAT32).weights(layer)
            for other in self.graph.node:
                _rename(other, node.output[0], name)
            self.graph.node.remove(node)
        return layers

    def _store_large_constants_once(self) -> list[GraphWeight]:
        found: dict[str, GraphWeight] = {}
        for node in [node for node in self.graph.node if node.op_type == "Constant"]:
            value = node.attribute[0].t
            if len(value.raw_data) < _STORED_BYTES:
                continue
            array = numpy_helper.to_array(value)
            digest = hashlib.sha256(value.raw_data + str(array.shape).encode()).hexdigest()
            if digest not in found:
                found[digest] = _table(f"table.{len(found)}", array)
            for other in self.graph.node:
                _rename(other, node.output[0], found[digest].name)
            self.graph.node.remove(node)
        return list(found.values())

    def _replace(self, old: Sequence[NodeProto], new: Sequence[NodeProto]) -> None:
        """New nodes where the last of the old ones was."""
        nodes = list(self.graph.node)
        end = nodes.index(old[-1])
        kept = [node for node in nodes[:end] if node not in old]
        del self.graph.node[:]
        self.graph.node.extend([*kept, *new, *nodes[end + 1 :]])


def _table(name: str, array: NDArray[Any]) -> GraphWeight:
    blocks = [np.ascontiguousarray(array)]
    return GraphWeight(name, DataType(array.dtype.name), array.shape, lambda: iter(blocks))


def _constant(name: str, values: list[int]) -> NodeProto:
    tensor = numpy_helper.from_array(np.array(values, np.int64))
    return helper.make_node("Constant", [], [name], value=tensor)


def _rename(node: NodeProto, old: str, new: str) -> None:
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new
