"""Where --precision decides what is written: the storage format of each precision's weights.

    precision         linear layers           embedding (and an untied head)
    fp32, fp16, bf16  FloatLinear             FloatEmbedding
    int8              BlockLinear, 8 bits     BlockEmbedding, 8 bits
    int4              BlockLinear, 4 bits     BlockEmbedding, 8 bits
    w8a8              W8A8Linear              BlockEmbedding, 8 bits

A format is one class. It says which weights are stored for a layer, which nodes multiply by them in
fused graphs, and which standard nodes do in portable graphs. Position embeddings, biases and layer
normalization have the activations' type with every precision (for which types it may be, see
Precision in models/graph.py).
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.block_format import BlockEmbedding, BlockLinear
from gptneo_onnx.export.graphs.builder import GraphBuilder
from gptneo_onnx.export.graphs.float_format import FloatEmbedding, FloatLinear
from gptneo_onnx.export.graphs.layers import Layer, Product
from gptneo_onnx.export.graphs.w8a8_format import W8A8Linear
from gptneo_onnx.export.weights.weight_group import WeightGroup
from gptneo_onnx.models.graph import NumberFormat, Precision


class LinearFormat(Protocol):
    """How the weights of linear layers are stored and multiplied by.

    Attributes:
        takes_rows: whether x has to be [rows, inputs] in fused graphs, not [..., inputs].
    """

    takes_rows: ClassVar[bool]

    def group(self, layer: Layer) -> WeightGroup:
        """Return the weights that are stored for a layer, without its bias."""

    def fused_product(
        self, graph: GraphBuilder, product: Product, output: str, x_minimum: float | None = None
    ) -> str:
        """Add the nodes of a product, without the layer's bias; returns `output`.

        `x_minimum` is a lower bound of x, where one is known.
        """

    def portable_product(
        self, graph: GraphBuilder, product: Product, output: str, bias: str = ""
    ) -> str:
        """Add the nodes of a product with x [rows, inputs], plus a bias if any."""


class EmbeddingFormat(Protocol):
    """How a table [vocab, hidden] is stored, looked up and multiplied by."""

    def group(self, name: str, table: StoredTensor) -> WeightGroup:
        """Return the weights that are stored for the table."""

    def fused_rows(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        """Add the nodes that look up the rows of ids [...]: [..., hidden]; returns `output`."""

    def fused_product(self, graph: GraphBuilder, product: Product, output: str) -> str:
        """Add the nodes of x [rows, hidden] times the table: [rows, vocab]; returns `output`."""

    def portable_rows(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        """Do as fused_rows, for ids [n]."""

    def portable_product(self, graph: GraphBuilder, product: Product, output: str) -> str:
        """Do as fused_product."""


@dataclass(frozen=True)
class WeightFormats:
    """The storage formats of one precision."""

    linear: LinearFormat
    embedding: EmbeddingFormat


def weight_formats(numbers: NumberFormat, hidden_size: int) -> WeightFormats:
    """Return the storage formats of a precision.

    The embedding never has 4 bits: they would cost half as much quality as in all linear layers
    together, and save a tenth of the file.
    """
    activations = numbers.activations
    embedding = BlockEmbedding(activations, hidden_size)
    match numbers.precision:
        case Precision.FP32 | Precision.FP16 | Precision.BF16:
            return WeightFormats(FloatLinear(activations), FloatEmbedding(activations))
        case Precision.INT8:
            return WeightFormats(BlockLinear(8, activations), embedding)
        case Precision.INT4:
            return WeightFormats(BlockLinear(4, activations), embedding)
        case Precision.W8A8:
            return WeightFormats(W8A8Linear(bits=7 if numbers.reduce_range else 8), embedding)
