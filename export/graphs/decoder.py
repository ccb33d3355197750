"""The base class of the fused, portable and genai graphs, and the way from one to its model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from onnx import ModelProto

from gptneo_onnx.export.graphs.activations import add_activation
from gptneo_onnx.export.graphs.builder import GraphBuilder
from gptneo_onnx.export.graphs.formats import weight_formats
from gptneo_onnx.export.graphs.layers import Product
from gptneo_onnx.export.graphs.model_proto import graph_model
from gptneo_onnx.export.weights.weight_group import WeightSpec
from gptneo_onnx.export.weights.weights_file import StoredWeights
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import EMBEDDING, GraphContract, NumberFormat
from gptneo_onnx.models.tasks import LM_HEAD


class DecoderGraph(ABC):
    """A GPT-Neo, added to a builder part by part; methods return the names of their results."""

    def __init__(
        self, config: GPTNeoConfig, contract: GraphContract, numbers: NumberFormat
    ) -> None:
        self.config = config
        self.contract = contract
        self.data_type = numbers.activations
        formats = weight_formats(numbers, config.hidden_size)
        self.linear, self.embedding = formats.linear, formats.embedding
        self.graph = GraphBuilder()
        self.node = self.graph.add

    @staticmethod
    def head_size(config: GPTNeoConfig) -> int:
        """Return the size of heads that the graph multiplies by, padding included."""
        return config.head_dim

    @abstractmethod
    def build(self) -> None:
        """Add every node."""

    @abstractmethod
    def as_output(self, x: str, output: str) -> None:
        """Hand hidden states on as an output, in its shape and type."""

    def output_hidden_states(self, layer: int, x: str) -> None:
        """Make x an output if the contract has one for `layer`.

        x is what block `layer` reads, or, for the number of layers, the final normalization.
        """
        if layer in self.contract.hidden_states:
            self.as_output(x, self.contract.hidden_states[layer].name)

    def declared(self, weight: WeightSpec) -> WeightSpec:
        """Return the weight with the type and shape that this kind of graph declares for it."""
        return weight

    def layer_norm(self, norm: str, x: str) -> str:
        return self.node(
            "LayerNormalization",
            [x, f"{norm}.weight", f"{norm}.bias"],
            norm,
            epsilon=self.config.layer_norm_epsilon,
        )

    def plain_activation(self, function: str, x: str, output: str) -> str:
        """Add an activation function that is the same in every kind of graph."""
        return add_activation(self.graph, self.data_type, function, x, output)

    def head_product(self, x: str, output: str) -> str:
        """x [rows, hidden] times the weight of the task's head, plus its bias: [rows, columns]."""
        assert self.contract.task.head.tensors
        return self.node("Gemm", [x, *self.contract.task.head.tensors.names], output, transB=1)

    def vocabulary_product(self, x: str) -> Product:
        """x [rows, hidden] times the embedding, or the head of a checkpoint that unties it."""
        head = EMBEDDING if self.config.tie_word_embeddings else LM_HEAD
        return Product(x, head, self.config.hidden_size, self.config.vocab_size)


def build_graph(
    kind: type[DecoderGraph],
    config: GPTNeoConfig,
    contract: GraphContract,
    numbers: NumberFormat,
    weights: Sequence[WeightSpec],
    stored: StoredWeights,
) -> ModelProto:
    """Build a graph of that kind, which reads its weights from where they are stored."""
    decoder = kind(config, contract, numbers)
    decoder.build()
    declared = [decoder.declared(weight) for weight in weights]
    return graph_model(contract, decoder.graph, declared, stored)
