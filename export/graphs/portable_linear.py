"""Multiplying by stored weights with standard operators alone: the portable graph's products.

The weights are those of linear.py and embedding.py, byte for byte, declared as standard types: two
4-bit codes in a byte are two uint4, the low half first in both. Quantized weights are widened by
DequantizeLinear, activations are not rounded.

Operators: https://onnx.ai/onnx/operators/
"""

from dataclasses import dataclass
from typing import Protocol

from onnx import helper

from gptneo_onnx.export.graphs.builder import GraphBuilder
from gptneo_onnx.export.graphs.embedding import BITS, FloatEmbedding, blocks_of
from gptneo_onnx.export.graphs.linear import LEAST_BLOCK, Product, block_size, scales_of, zeros_of
from gptneo_onnx.export.weights.graph_weight import GraphWeight
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision

_MIDDLE = 128  # the code of 0 among 8 bits


class PortableFormat(Protocol):
    """How products and look-ups are written for weights of one format."""

    def declared(self, weight: GraphWeight) -> GraphWeight:
        """The weight with the type and shape that a portable graph declares for its bytes."""

    def multiply(self, graph: GraphBuilder, product: Product, output: str, bias: str = "") -> str:
        """Add x [rows, inputs] by the layer's weights, and a bias: [rows, outputs]."""


def portable_format(numbers: NumberFormat) -> PortableFormat:
    """Of the linear layers."""
    match numbers.precision:
        case Precision.INT8:
            return _Blocks(8, numbers.activations)
        case Precision.INT4:
            return _Blocks(4, numbers.activations)
        case Precision.W8A8:
            return _Outputs()
        case _:
            return _Floats()


class _Floats:
    """[inputs, outputs]"""

    def declared(self, weight: GraphWeight) -> GraphWeight:
        return weight

    def multiply(self, graph: GraphBuilder, product: Product, output: str, bias: str = "") -> str:
        return graph.add("Gemm", _with(bias, product.x, product.weight), output)


class _Outputs:
    """int8 [inputs, outputs] with a scale for each output."""

    def declared(self, weight: GraphWeight) -> GraphWeight:
        return weight

    def multiply(self, graph: GraphBuilder, product: Product, output: str, bias: str = "") -> str:
        weight = product.weight
        widened = graph.add(
            "DequantizeLinear", [weight, scales_of(weight)], f"{output}.widened", axis=1
        )
        return graph.add("Gemm", _with(bias, product.x, widened), output)


@dataclass(frozen=True)
class _Blocks:
    """Codes [outputs, inputs] with a scale for each block of inputs."""

    bits: int
    data_type: DataType

    def declared(self, weight: GraphWeight) -> GraphWeight:
        if weight.name.endswith(zeros_of("")):
            return weight.declared_as(DataType.UINT4, (weight.shape[0], 2 * weight.shape[1]))
        if weight.data_type is not DataType.UINT8 or len(weight.shape) != 3:
            return weight
        outputs, blocks, size = weight.shape  # in bytes
        return weight.declared_as(_CODES[self.bits], (outputs, blocks * size * 8 // self.bits))

    def multiply(self, graph: GraphBuilder, product: Product, output: str, bias: str = "") -> str:
        weight = product.weight
        block = block_size(product.inputs, self.bits)
        if self.bits == 4 and product.inputs // block % 2:
            raise InputError(
                f"a layer has {product.inputs} inputs, and a portable graph of 4 bits needs a "
                f"multiple of {2 * LEAST_BLOCK}; export with --graph fused or --precision int8"
            )
        zeros = zeros_of(weight) if self.bits == 4 else _middle_codes(graph, scales_of(weight))
        widened = graph.add(
            "DequantizeLinear",
            [weight, scales_of(weight), zeros],
            f"{output}.widened",
            axis=1,
            block_size=block,
        )
        return graph.add("Gemm", _with(bias, product.x, widened), output, transB=1)


_CODES = {4: DataType.UINT4, 8: DataType.UINT8}


class PortableEmbedding(Protocol):
    """How the embedding is looked up and multiplied by."""

    def look_up(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        """Add the rows of ids [n]: [n, hidden]."""

    def multiply(self, graph: GraphBuilder, product: Product, output: str) -> str:
        """Add x [rows, hidden] by the table: [rows, vocab]."""


def portable_embedding(numbers: NumberFormat, hidden_size: int) -> PortableEmbedding:
    """8 bits wherever weights are quantized, as embedding.py stores it."""
    if numbers.precision.is_quantized:
        return _BlockTable(numbers.activations, hidden_size)
    return FloatEmbedding(numbers.activations)


@dataclass(frozen=True)
class _BlockTable:
    """uint8 [vocab, hidden] with a scale for each block of a row."""

    data_type: DataType
    hidden_size: int

    def look_up(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        codes = graph.add("Gather", [name, ids], f"{output}.codes")
        scales = graph.add("Gather", [scales_of(blocks_of(name)), ids], f"{output}.scales")
        return self._widened(graph, codes, scales, output)

    def multiply(self, graph: GraphBuilder, product: Product, output: str) -> str:
        scales = scales_of(blocks_of(product.weight))
        widened = self._widened(graph, product.weight, scales, f"{output}.widened")
        return graph.add("Gemm", [product.x, widened], output, transB=1)

    def _widened(self, graph: GraphBuilder, codes: str, scales: str, output: str) -> str:
        return graph.add(
            "DequantizeLinear",
            [codes, scales, _middle_codes(graph, scales)],
            output,
            axis=1,
            block_size=block_size(self.hidden_size, BITS),
        )


def _middle_codes(graph: GraphBuilder, scales: str) -> str:
    """Zero points of 128 in the scales' shape; returns their name."""
    zeros = f"{scales}.zeros"
    if not graph.has(zeros):
        shape = graph.add("Shape", [scales], f"{scales}.shape")
        value = helper.make_tensor("value", DataType.UINT8.onnx, [1], [_MIDDLE])
        graph.add("ConstantOfShape", [shape], zeros, value=value)
    return zeros


def _with(bias: str, *inputs: str) -> list[str]:
    return [*inputs, bias] if bias else [*inputs]
