"""The portable graph as Optimum traces it, with its faults repaired.

- Weights are read from the checkpoint one after the other, and written to a new data file, never
  appended to an old one.
- The embedding is stored once: logits multiply by the same table, not by a transposed copy.
- Linear layers are stored as MatMul reads them, without a Transpose that runs at every start.
- Constants that every layer has a copy of (masks of [context, context]) are stored once.
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
from gptneo_onnx.export.graphs.float_format import FloatLinear, table_group
from gptneo_onnx.export.graphs.layers import Layer
from gptneo_onnx.export.graphs.model_proto import external_initializer, value_info
from gptneo_onnx.export.graphs.optimum_trace import trace
from gptneo_onnx.export.weights.weight_group import WeightGroup, WeightSpec
from gptneo_onnx.export.weights.weights_file import plan_weights, write_weights
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
from gptneo_onnx.models.tasks import Task

# Smaller constants stay in the graph.
_STORED_BYTES = 1024


def write_optimum_graph(
    source: Checkpoint, task: Task, path: Path, weights_file: Path, progress: bool
) -> GraphContract:
    """Trace and repair a task's graph, then write it and its weights file.

    Raises:
        ModelFileError: a tensor of the checkpoint is missing or has another shape; or the graph
            would pool texts, and config.json names no pad token.
    """
    contract = portable_contract(source.config, NumberFormat.of(Precision.FP32), task=task)
    model = trace(source, task)
    weights = _TracedGraph(source, model.graph, contract).repair()
    specs = [spec for group in weights for spec in group.specs]
    stored = plan_weights(weights_file.name, weights)
    model.graph.initializer.extend(external_initializer(spec, stored) for spec in specs)
    path.write_bytes(model.SerializeToString())
    write_weights(weights_file, weights, stored, progress)
    return contract


class _TracedGraph:
    """A traced graph, whose parameters are inputs until they are turned into weights."""

    def __init__(self, source: Checkpoint, graph: onnx.GraphProto, contract: GraphContract) -> None:
        self.source = source
        self.graph = graph
        self.contract = contract
        declared = {spec.name for spec in contract.inputs}
        self.parameters = {
            value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
            for value in graph.input
            if value.name not in declared
        }

    def repair(self) -> list[WeightGroup]:
        """Repair the graph in place; returns its weights."""
        unread = (
            self._multiply_by_the_stored_embedding() if self.contract.task.is_generation else ""
        )
        layers = self._store_linear_layers_transposed()
        tables = [
            table_group(name, self._tensor(name, shape), DataType.FLOAT32)
            for name, shape in self.parameters.items()
            if name not in layers and name != unread
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

    def _multiply_by_the_stored_embedding(self) -> str:
        """Make logits by Gemm, which takes the table as [vocab, hidden].

        Returns:
            The parameter that is no longer read: a second one for the same table; "" if none.
        """
        [product] = [node for node in self.graph.node if LOGITS in node.output]
        transposes = {
            node.output[0]: node for node in self.graph.node if node.op_type == "Transpose"
        }
        transpose = transposes[product.input[1]]
        traced = table = transpose.input[0]
        if self.source.config.tie_word_embeddings:
            [table] = [name for name in self.parameters if name.endswith(EMBEDDING)]
        hidden, vocab = self.source.config.hidden_size, self.source.config.vocab_size
        nodes = [
            _constant("logits.flat_shape", [-1, hidden]),
            _constant("logits.vocab", [vocab]),
            helper.make_node("Reshape", [product.input[0], "logits.flat_shape"], ["logits.flat"]),
            helper.make_node("Gemm", ["logits.flat", table], ["logits.product"], transB=1),
            helper.make_node("Shape", [INPUT_IDS], ["logits.batch_and_sequence"]),
            helper.make_node(
                "Concat", ["logits.batch_and_sequence", "logits.vocab"], ["logits.shape"], axis=0
            ),
            helper.make_node("Reshape", ["logits.product", "logits.shape"], [LOGITS]),
        ]
        self._replace([transpose, product], nodes)
        return traced if traced != table else ""

    def _store_linear_layers_transposed(self) -> dict[str, WeightGroup]:
        """Store as [in, out] the weights [out, in] that only a Transpose reads; by name."""
        layers = {}
        for node in [node for node in self.graph.node if node.op_type == "Transpose"]:
            name = node.input[0]
            readers = [other for other in self.graph.node if name in other.input]
            if name not in self.parameters or len(readers) > 1:
                continue
            layer = Layer(name, [self._tensor(name, self.parameters[name])])
            layers[name] = FloatLinear(DataType.FLOAT32).group(layer)
            for other in self.graph.node:
                _rename(other, node.output[0], name)
            self.graph.node.remove(node)
        return layers

    def _store_large_constants_once(self) -> list[WeightGroup]:
        """Turn large constants into weights, and equal ones into the same weight."""
        tables: dict[str, tuple[str, WeightGroup]] = {}  # by the contents' hash
        for node in [node for node in self.graph.node if node.op_type == "Constant"]:
            value = node.attribute[0].t
            if len(value.raw_data) < _STORED_BYTES:
                continue
            array = numpy_helper.to_array(value)
            digest = hashlib.sha256(value.raw_data + str(array.shape).encode()).hexdigest()
            if digest not in tables:
                name = f"table.{len(tables)}"
                tables[digest] = name, _constant_group(name, array)
            for other in self.graph.node:
                _rename(other, node.output[0], tables[digest][0])
            self.graph.node.remove(node)
        return [group for _, group in tables.values()]

    def _replace(self, old: Sequence[NodeProto], new: Sequence[NodeProto]) -> None:
        """Put new nodes where the last of the old ones was."""
        nodes = list(self.graph.node)
        end = nodes.index(old[-1])
        before = [node for node in nodes[:end] if node not in old]
        del self.graph.node[:]
        self.graph.node.extend([*before, *new, *nodes[end + 1 :]])


def _constant_group(name: str, array: NDArray[Any]) -> WeightGroup:
    spec = WeightSpec(name, DataType(array.dtype.name), array.shape)
    arrays = {name: np.ascontiguousarray(array)}
    return WeightGroup((spec,), lambda: iter([arrays]))


def _constant(name: str, values: list[int]) -> NodeProto:
    tensor = numpy_helper.from_array(np.array(values, np.int64))
    return helper.make_node("Constant", [], [name], value=tensor)


def _rename(node: NodeProto, old: str, new: str) -> None:
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new
