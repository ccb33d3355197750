"""The formats of the embedding: a table that ids look up, and that hidden states multiply."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.builder import MICROSOFT, GraphBuilder
from gptneo_onnx.export.graphs.linear import BlockLinear, Product, block_size, scales_of
from gptneo_onnx.export.weights.graph_weight import NUMPY_TYPES, Blocks, GraphWeight, converted
from gptneo_onnx.export.weights.quantization import quantize_blocks_8bit
from gptneo_onnx.models.graph import DataType, NumberFormat

BITS = 8


class EmbeddingFormat(Protocol):
    """How a table [vocab, hidden] is stored, read and multiplied by."""

    def weights(self, name: str, table: StoredTensor) -> list[GraphWeight]:
        """The table's initializers."""

    def look_up(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        """Add what reads the rows of ids [...]: [..., hidden]; returns `output`."""

    def multiply(self, graph: GraphBuilder, product: Product, output: str) -> str:
        """Add x [rows, hidden] by the table: [rows, vocab]; returns `output`."""


def embedding_format(numbers: NumberFormat, hidden_size: int) -> EmbeddingFormat:
    """The format that a precision stands for: 8 bits wherever weights are quantized.

    4 bits would cost half as much quality as in all linear layers together, and save a tenth.
    """
    if numbers.precision.is_quantized:
        return BlockEmbedding(numbers.activations, hidden_size)
    return FloatEmbedding(numbers.activations)


def table_weight(name: str, table: StoredTensor, data_type: DataType) -> GraphWeight:
    """A tensor that is stored as the checkpoint has it."""

    def blocks() -> Blocks:
        return (converted(block, table, data_type) for block in table.row_blocks())

    return GraphWeight(name, data_type, table.shape, blocks)


@dataclass(frozen=True)
class FloatEmbedding:
    """As activations are."""

    data_type: DataType

    def weights(self, name: str, table: StoredTensor) -> list[GraphWeight]:
        return [table_weight(name, table, self.data_type)]

    def look_up(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        return graph.add("Gather", [name, ids], output)

    def multiply(self, graph: GraphBuilder, product: Product, output: str) -> str:
        return graph.add("Gemm", [product.x, product.weight], output, transB=1)


@dataclass(frozen=True)
class BlockEmbedding:
    """8 bits, a scale for each block of a row; looking up and multiplying read the same bytes."""

    data_type: DataType
    hidden_size: int

    def weights(self, name: str, table: StoredTensor) -> list[GraphWeight]:
        block = block_size(self.hidden_size, BITS)
        vocab, blocks = table.shape[0], self.hidden_size // block
        rows = _QuantizedRows(table, block, self.data_type)
        codes = GraphWeight(name, DataType.UINT8, table.shape, rows.codes)
        return [
            codes,
            codes.alias(blocks_of(name), (vocab, blocks, block)),
            GraphWeight(scales_of(blocks_of(name)), self.data_type, (vocab, blocks), rows.scales),
        ]

    def look_up(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        return graph.add(
            "GatherBlockQuantized",
            [name, ids, scales_of(blocks_of(name))],
            output,
            MICROSOFT,
            bits=BITS,
            block_size=block_size(self.hidden_size, BITS),
            gather_axis=0,
            quantize_axis=1,
        )

    def multiply(self, graph: GraphBuilder, product: Product, output: str) -> str:
        blocks = replace(product, weight=blocks_of(product.weight))
        return BlockLinear(BITS, self.data_type).multiply(graph, blocks, output)


class _QuantizedRows:
    """A table's codes, a few rows at a time, and then the scales that came with them."""

    def __init__(self, table: StoredTensor, block: int, data_type: DataType) -> None:
        self._table = table
        self._block = block
        self._dtype = NUMPY_TYPES[data_type]
        self._scales: list[NDArray[Any]] = []

    def codes(self) -> Blocks:
        self._scales.clear()
        for rows in self._table.row_blocks():
            values = converted(rows, self._table, DataType.FLOAT32)
            quantized = quantize_blocks_8bit(values, self._block)
            self._scales.append(quantized.scales.astype(self._dtype))
            yield quantized.codes

    def scales(self) -> Blocks:
        yield from self._scales


def blocks_of(name: str) -> str:
    """The name of a table's codes in blocks, whose scales are called after it."""
    return f"{name}.blocks"
