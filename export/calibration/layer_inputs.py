"""Statistics of what goes into every linear layer while the float32 model reads a text."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from gptneo_onnx.export.check.subgraph import Subgraph, Tensors, produced_by, read_by
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.graphs.decoder import build_graph
from gptneo_onnx.export.graphs.fused import FusedGraph
from gptneo_onnx.export.graphs.head_padding import model_columns, model_layer
from gptneo_onnx.export.graphs.model_weights import model_weights
from gptneo_onnx.export.weights.conversion import Floats
from gptneo_onnx.export.weights.weights_file import plan_weights
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.graph import NumberFormat, Precision, fused_contract
from gptneo_onnx.models.tasks import Task

# One product over many tokens costs less than several over few.
WINDOWS_AT_ONCE = 8


@dataclass
class LayerInputs:
    """A linear layer's inputs over a text, and how large its weights are.

    Attributes:
        largest: [inputs], the largest absolute value of each input.
        weights_largest: [inputs], the largest absolute weight that multiplies each.
        moments: [inputs, inputs], the mean of x x^T.
    """

    largest: Floats
    weights_largest: Floats
    moments: Floats

    @classmethod
    def of_no_tokens(cls, weights: Floats) -> "LayerInputs":
        """Return the statistics before any token, for weights [inputs, outputs]."""
        inputs = len(weights)
        largest = np.maximum(weights.max(1), -weights.min(1))
        return cls(np.zeros(inputs, np.float32), largest, np.zeros((inputs, inputs), np.float32))

    def add(self, x: Floats, share: float) -> None:
        """Add inputs [tokens, inputs], whose mean counts for a share of the whole mean."""
        np.maximum(self.largest, np.abs(x).max(0), out=self.largest)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = x * np.float32(np.sqrt(share / len(x)))
            self.moments += scaled.T @ scaled

    def selected(self, inputs: NDArray[np.int64]) -> "LayerInputs":
        """Return the statistics of some of the inputs."""
        moments = self.moments[np.ix_(inputs, inputs)]
        return LayerInputs(self.largest[inputs], self.weights_largest[inputs], moments)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.moments.diagonal()).all())


def layer_inputs(
    checkpoint: Checkpoint, ids: NDArray[np.int64]
) -> Iterator[dict[str, LayerInputs]]:
    """Yield the inputs of a block's linear layers, block by block.

    One block's weights are in memory at a time, with the hidden states of all windows.

    Args:
        checkpoint: read as float32.
        ids: [windows, length].

    Yields:
        For each block, its layers' inputs by the names of the layers' weights.

    Raises:
        ModelFileError: the checkpoint cannot be read, or activations are not finite.
    """
    model = _FloatModel(checkpoint, ids)
    for nodes in model.blocks():
        yield model.read_block(nodes)


class _FloatModel:
    """The float32 fused graph, run a few nodes at a time, with weights fed from the checkpoint.

    Attributes:
        states: for each batch of windows, the tensors that later nodes read.
        shares: the share of all windows that is in each batch.
    """

    def __init__(self, checkpoint: Checkpoint, ids: NDArray[np.int64]) -> None:
        numbers = NumberFormat.of(Precision.FP32)
        config = checkpoint.config
        self.directory = checkpoint.directory
        task = Task.FEATURE_EXTRACTION_WITH_PAST  # no head is needed
        self.contract = fused_contract(config, numbers, task=task)
        self.model = build_graph(
            FusedGraph, config, self.contract, numbers, [], plan_weights("", [])
        )
        head_size = FusedGraph.head_size(config)
        self.weights = list(model_weights(checkpoint, numbers, [head_size], task))
        self.attended = model_columns(config, head_size)
        starts = range(0, len(ids), WINDOWS_AT_ONCE)
        self.states: list[Tensors] = [
            {names.INPUT_IDS: ids[start : start + WINDOWS_AT_ONCE]} for start in starts
        ]
        self.shares = [len(state[names.INPUT_IDS]) / len(ids) for state in self.states]
        self.length = ids.shape[1]

    def blocks(self) -> Iterator[list[NodeProto]]:
        """Yield each block's nodes: from its product for query, key and value up to the next one.

        The nodes before the first block are run on the way. The last block ends with the model's
        last linear layer, whose inputs are still needed.
        """
        nodes = list(self.model.graph.node)
        products = [node.name for node in nodes if node.op_type == "MatMul"]
        index = {node.name: position for position, node in enumerate(nodes)}
        starts = [index[name] for name in products if name.endswith(".qkv")]
        self.advance(nodes[: starts[0]])
        for start, end in zip(starts, [*starts[1:], index[products[-1]] + 1], strict=True):
            yield nodes[start:end]

    def read_block(self, nodes: list[NodeProto]) -> dict[str, LayerInputs]:
        inputs = {node.input[1]: node.input[0] for node in nodes if node.op_type == "MatMul"}
        weights = self.read_weights(nodes)
        statistics = {layer: LayerInputs.of_no_tokens(weights[layer]) for layer in inputs}
        steps = self.steps(nodes, weights, {*inputs.values()})
        for share, tensors in zip(self.shares, steps, strict=True):
            for layer, x in inputs.items():
                statistics[layer].add(tensors[x].reshape(-1, tensors[x].shape[-1]), share)
        if not all(layer.is_finite for layer in statistics.values()):
            raise ModelFileError(
                f"{self.directory}: activations are not finite numbers while it reads the text to "
                "calibrate with; the weights are damaged: fetch the checkpoint again"
            )
        return {model_layer(layer): self.of_model(layer, statistics[layer]) for layer in statistics}

    def of_model(self, layer: str, statistics: LayerInputs) -> LayerInputs:
        """Return a layer's statistics without the inputs that only fill up heads."""
        is_padded = model_layer(layer).endswith("out_proj.weight") and model_layer(layer) != layer
        return statistics.selected(self.attended) if is_padded else statistics

    def advance(self, nodes: list[NodeProto]) -> None:
        """Run nodes whose results only later nodes read."""
        for _ in self.steps(nodes, self.read_weights(nodes), set()):
            pass

    def steps(
        self, nodes: list[NodeProto], weights: Tensors, recorded: set[str]
    ) -> Iterator[Tensors]:
        """Run the nodes for every state, and replace it by their results that later nodes read.

        Yields:
            For each state, all tensors by name, with those of `recorded` that the nodes make.
        """
        produced = produced_by(nodes)
        later = read_by(self.model.graph.node[self._end(nodes) :]) & produced
        outputs = sorted(later | (recorded & produced))
        for index, state in enumerate(self.states):
            batch = len(next(iter(state.values())))
            tensors = self._step_inputs(batch, read_by(nodes)) | weights | state
            tensors |= Subgraph(self.model, nodes, outputs, tensors).run(tensors)
            self.states[index] = {name: tensors[name] for name in later}
            yield tensors
            del tensors  # before the next step makes its own

    def _end(self, nodes: list[NodeProto]) -> int:
        return 1 + [node.name for node in self.model.graph.node].index(nodes[-1].name)

    def read_weights(self, nodes: list[NodeProto]) -> Tensors:
        read = read_by(nodes)
        weights: Tensors = {}
        for group in self.weights:
            if any(spec.name in read for spec in group.specs):
                weights |= group.read()
        return weights

    def _step_inputs(self, batch: int, read: set[str]) -> Tensors:
        """Return the inputs of a step with whole sequences, over empty caches for the nodes."""
        sizes = {names.BATCH: batch, names.CAPACITY: self.length}
        inputs: Tensors = {
            spec.name: np.zeros(spec.shape(sizes), spec.data_type.value)
            for cache in self.contract.caches
            for spec in cache.past
            if spec.name in read
        }
        inputs[names.POSITION_IDS] = np.tile(np.arange(self.length), (batch, 1))
        inputs[names.SEQLENS_K] = np.full(batch, self.length - 1, np.int32)
        inputs[names.TOTAL_SEQUENCE_LENGTH] = np.array(self.length, np.int32)
        return inputs
