"""What graphs of every kind have in common: a builder, and parts that no contract changes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from onnx import ModelProto

from gptneo_onnx.export.graphs.builder import GraphBuilder
from gptneo_onnx.export.graphs.linear import Product
from gptneo_onnx.export.graphs.model_proto import graph_model
from gptneo_onnx.export.graphs.parameters import LM_HEAD
from gptneo_onnx.export.weights.graph_weight import GraphWeight
from gptneo_onnx.export.weights.weights_file import StoredWeights
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import EMBEDDING, GraphContract, NumberFormat

_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


class DecoderGraph(ABC):
    """Appends one part after the other; every method returns the names of its results."""

    def __init__(
        self, config: GPTNeoConfig, contract: GraphContract, numbers: NumberFormat
    ) -> None:
        self.config = config
        self.contract = contract
        self.graph = GraphBuilder()
        self.node = self.graph.add

    @abstractmethod
    def build(self) -> None:
        """Add every node."""

    @abstractmethod
    def as_output(self, x: str, output: str) -> None:
        """Hand on hidden states in an output's shape and type."""

    def output_hidden_states(self, layer: int, x: str) -> None:
        """What block `layer` reads, or what is behind the last of all, if the contract has it."""
        if layer in self.contract.hidden_states:
            self.as_output(x, self.contract.hidden_states[layer].name)

    def declared(self, weight: GraphWeight) -> GraphWeight:
        """The weight with the type and shape that this graph declares for its bytes."""
        return weight

    def layer_norm(self, norm: str, x: str) -> str:
        return self.node(
            "LayerNormalization",
            [x, f"{norm}.weight", f"{norm}.bias"],
            norm,
            epsilon=self.config.layer_norm_epsilon,
        )

    def plain_activation(self, function: str, x: str, output: str) -> str:
        """One of the functions that are an operator of the same name."""
        return self.node(_OPERATORS[function], [x], output)

    def vocabulary_product(self, x: str) -> Product:
        """x [rows, hidden] by the embedding, or by the head that a checkpoint has besides."""
        head = EMBEDDING if self.config.tie_word_embeddings else LM_HEAD
        return Product(x, head, self.config.hidden_size, self.config.vocab_size)


def build_graph(
    kind: type[DecoderGraph],
    config: GPTNeoConfig,
    contract: GraphContract,
    numbers: NumberFormat,
    weights: Sequence[GraphWeight],
    stored: StoredWeights,
) -> ModelProto:
    """A graph of that kind, its weights left where they are stored."""
    decoder = kind(config, contract, numbers)
    decoder.build()
    declared = [decoder.declared(weight) for weight in weights]
    return graph_model(contract, decoder.graph, declared, stored)
