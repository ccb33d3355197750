"""Weights of fp32, fp16 and bf16: in the type of the activations, multiplied by MatMul and Gemm."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.builder import GraphBuilder
from gptneo_onnx.export.graphs.layers import Layer, Product
from gptneo_onnx.export.weights.conversion import NUMPY_TYPES, converted, transpose_into
from gptneo_onnx.export.weights.weight_group import Arrays, WeightGroup, WeightSpec
from gptneo_onnx.models.graph import DataType


@dataclass(frozen=True)
class FloatLinear:
    """Linear layers stored [in, out], as MatMul multiplies."""

    data_type: DataType
    takes_rows: ClassVar[bool] = False

    def group(self, layer: Layer) -> WeightGroup:
        spec = WeightSpec(layer.name, self.data_type, (layer.inputs, layer.outputs))
        return WeightGroup((spec,), partial(self._transposed, layer))

    def _transposed(self, layer: Layer) -> Iterator[Arrays]:
        target = np.empty((layer.inputs, layer.outputs), NUMPY_TYPES[self.data_type])
        column = 0
        for matrix in layer.matrices:
            source = converted(matrix.read(), matrix, self.data_type)
            transpose_into(target[:, column : column + len(source)], source)
            column += len(source)
        yield {layer.name: target}

    def fused_product(
        self, graph: GraphBuilder, product: Product, output: str, x_minimum: float | None = None
    ) -> str:
        return graph.add("MatMul", [product.x, product.weight], output)

    def portable_product(
        self, graph: GraphBuilder, product: Product, output: str, bias: str = ""
    ) -> str:
        return graph.add("Gemm", [product.x, product.weight, *([bias] if bias else [])], output)


@dataclass(frozen=True)
class FloatEmbedding:
    """The embedding stored [vocab, hidden]; both kinds of graphs read it by standard operators."""

    data_type: DataType

    def group(self, name: str, table: StoredTensor) -> WeightGroup:
        return table_group(name, table, self.data_type)

    def fused_rows(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        return graph.add("Gather", [name, ids], output)

    def fused_product(self, graph: GraphBuilder, product: Product, output: str) -> str:
        return graph.add("Gemm", [product.x, product.weight], output, transB=1)

    portable_rows = fused_rows
    portable_product = fused_product


def table_group(name: str, table: StoredTensor, data_type: DataType) -> WeightGroup:
    """Return a tensor as a separate group, stored in the checkpoint's shape."""

    def compute() -> Iterator[Arrays]:
        return ({name: converted(rows, table, data_type)} for rows in table.row_blocks())

    return WeightGroup((WeightSpec(name, data_type, table.shape),), compute)
