"""Weights of int8 and int4: codes of 8 or 4 bits with a scale for each block along the inputs.

Fused graphs multiply by MatMulNBits and look up by GatherBlockQuantized. Portable graphs widen
weights by DequantizeLinear and multiply floats; they declare the same bytes as standard types, in
which two 4-bit codes in a byte are two uint4, the low half first in both.

Rows whose length is no multiple of the smallest block end with codes of zeros. MatMulNBits passes
over them; elsewhere a Slice cuts them off.

https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from onnx import helper

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.builder import MICROSOFT, GraphBuilder
from gptneo_onnx.export.graphs.layers import Layer, Product, scales_of, zeros_of
from gptneo_onnx.export.weights.conversion import NUMPY_TYPES, Floats, converted
from gptneo_onnx.export.weights.quantization import quantize_blocks_4bit, quantize_blocks_8bit
from gptneo_onnx.export.weights.weight_group import Arrays, WeightGroup, WeightSpec
from gptneo_onnx.models.graph import LEAST_BLOCK, DataType, whole_blocks

# Chosen by measurement: see docs/precision.md.
BLOCKS = {4: 128, 8: 128}
# Sums of 8-bit products instead of float ones: thirty times faster.
_ACCURACY_LEVEL = 4
_MIDDLE = 128  # the code of 0 among 8 bits
_EMBEDDING_BITS = 8


@dataclass(frozen=True)
class BlockLinear:
    """Linear layers stored as codes [out, blocks, block], with scales [out, blocks].

    4-bit codes have a zero point for each block too. The zero point of 8-bit codes is 128.
    """

    bits: int
    data_type: DataType
    takes_rows: ClassVar[bool] = False

    def group(self, layer: Layer) -> WeightGroup:
        name, outputs, inputs = layer.name, layer.outputs, layer.inputs
        block = block_size(inputs, self.bits)
        blocks = whole_blocks(inputs) // block
        standard = DataType.UINT4 if self.bits == 4 else DataType.UINT8
        shape = (outputs, blocks, block * self.bits // 8)
        specs = [
            WeightSpec(name, DataType.UINT8, shape, portable=(standard, (outputs, blocks * block))),
            WeightSpec(scales_of(name), self.data_type, (outputs, blocks)),
        ]
        if self.bits == 4:
            zero_bytes = -(-blocks // 2)
            specs.append(
                WeightSpec(
                    zeros_of(name),
                    DataType.UINT8,
                    (outputs, zero_bytes),
                    portable=(DataType.UINT4, (outputs, 2 * zero_bytes)),
                )
            )
        return WeightGroup(tuple(specs), partial(self._quantized, layer, block))

    def _quantized(self, layer: Layer, block: int) -> Iterator[Arrays]:
        quantize = quantize_blocks_8bit if self.bits == 8 else quantize_blocks_4bit
        missing = whole_blocks(layer.inputs) - layer.inputs
        moments = layer.moments
        if missing and moments is not None:
            moments = np.pad(moments, (0, missing))
        quantized = quantize(_with_zeros(layer.read(), missing), block, moments)
        scales = quantized.scales.astype(NUMPY_TYPES[self.data_type])
        arrays = {layer.name: quantized.codes, scales_of(layer.name): scales}
        if quantized.zero_points is not None:
            arrays[zeros_of(layer.name)] = quantized.zero_points
        yield arrays

    def fused_product(
        self, graph: GraphBuilder, product: Product, output: str, x_minimum: float | None = None
    ) -> str:
        weight = product.weight
        zeros = [zeros_of(weight)] if self.bits == 4 else []
        return graph.add(
            "MatMulNBits",
            [product.x, weight, scales_of(weight), *zeros],
            output,
            MICROSOFT,
            K=product.inputs,
            N=product.outputs,
            bits=self.bits,
            block_size=block_size(product.inputs, self.bits),
            accuracy_level=_ACCURACY_LEVEL,
        )

    def portable_product(
        self, graph: GraphBuilder, product: Product, output: str, bias: str = ""
    ) -> str:
        weight, scales = product.weight, scales_of(product.weight)
        block = block_size(product.inputs, self.bits)
        if self.bits == 4:
            blocks = whole_blocks(product.inputs) // block
            codes, zeros = _codes_and_zeros(graph, weight, blocks)
        else:
            codes, zeros = weight, _middle_codes(graph, scales)
        codes_scales_zeros = [codes, scales, zeros]
        widened = _widened(graph, codes_scales_zeros, block, f"{output}.widened", product.inputs)
        inputs = [product.x, widened, *([bias] if bias else [])]
        return graph.add("Gemm", inputs, output, transB=1)


@dataclass(frozen=True)
class BlockEmbedding:
    """The embedding in 8 bits, with a scale for each block of a row.

    Looking up and multiplying read the same bytes: as [vocab, blocks * block], and as the blocks
    that MatMulNBits takes, [vocab, blocks, block].
    """

    data_type: DataType
    hidden_size: int

    @property
    def _block(self) -> int:
        return block_size(self.hidden_size, _EMBEDDING_BITS)

    def group(self, name: str, table: StoredTensor) -> WeightGroup:
        vocab, width = table.shape[0], whole_blocks(self.hidden_size)
        blocks = width // self._block
        codes = WeightSpec(name, DataType.UINT8, (vocab, width))
        in_blocks = codes.alias(_blocks_of(name), (vocab, blocks, self._block))
        scales = WeightSpec(scales_of(_blocks_of(name)), self.data_type, (vocab, blocks))
        return WeightGroup((codes, in_blocks, scales), partial(self._quantized, name, table))

    def _quantized(self, name: str, table: StoredTensor) -> Iterator[Arrays]:
        for rows in table.row_blocks():
            values = converted(rows, table, DataType.FLOAT32)
            values = _with_zeros(values, whole_blocks(self.hidden_size) - self.hidden_size)
            quantized = quantize_blocks_8bit(values, self._block)
            scales = quantized.scales.astype(NUMPY_TYPES[self.data_type])
            yield {name: quantized.codes, scales_of(_blocks_of(name)): scales}

    def fused_rows(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        graph.add(
            "GatherBlockQuantized",
            [name, ids, scales_of(_blocks_of(name))],
            _uncut(output, self.hidden_size),
            MICROSOFT,
            bits=_EMBEDDING_BITS,
            block_size=self._block,
            gather_axis=0,
            quantize_axis=1,
        )
        return _cut(graph, self.hidden_size, output)

    def fused_product(self, graph: GraphBuilder, product: Product, output: str) -> str:
        in_blocks = replace(product, weight=_blocks_of(product.weight))
        return BlockLinear(_EMBEDDING_BITS, self.data_type).fused_product(graph, in_blocks, output)

    def portable_rows(self, graph: GraphBuilder, name: str, ids: str, output: str) -> str:
        codes = graph.add("Gather", [name, ids], f"{output}.codes")
        scales = graph.add("Gather", [scales_of(_blocks_of(name)), ids], f"{output}.scales")
        zeros = _middle_codes(graph, scales)
        return _widened(graph, [codes, scales, zeros], self._block, output, self.hidden_size)

    def portable_product(self, graph: GraphBuilder, product: Product, output: str) -> str:
        scales = scales_of(_blocks_of(product.weight))
        zeros = _middle_codes(graph, scales)
        inputs = [product.weight, scales, zeros]
        widened = _widened(graph, inputs, self._block, f"{output}.widened", self.hidden_size)
        return graph.add("Gemm", [product.x, widened], output, transB=1)


def block_size(inputs: int, bits: int) -> int:
    """Return the chosen size, or the largest power of 2 below it that divides a row's codes.

    A row has whole_blocks(inputs) of them. The number of 4-bit blocks is even where it can be:
    their zero points then fill whole bytes.
    """
    block, codes_per_byte = BLOCKS[bits], 8 // bits
    while whole_blocks(inputs) % (codes_per_byte * block) and block > LEAST_BLOCK:
        block //= 2
    return block


def _with_zeros(rows: Floats, columns: int) -> Floats:
    """Return rows [..., inputs] with that many columns of zeros after them."""
    return np.pad(rows, ((0, 0), (0, columns))) if columns else rows


def _blocks_of(name: str) -> str:
    """Return the name of an embedding's codes in blocks, from which its scales have theirs."""
    return f"{name}.blocks"


def _uncut(output: str, columns: int) -> str:
    """Return the name of an output before `_cut`, where its rows still have whole blocks."""
    return output if columns == whole_blocks(columns) else f"{output}.uncut"


def _cut(graph: GraphBuilder, columns: int, output: str) -> str:
    """Make the output of `_uncut`, if that is wider than its columns; returns the output."""
    uncut = _uncut(output, columns)
    return output if uncut == output else _first(graph, uncut, columns, output)


def _first(graph: GraphBuilder, x: str, columns: int, output: str) -> str:
    """Add the node that takes the first columns of x [..., columns]."""
    bounds = {"start": 0, f"end.{columns}": columns, "axis": -1}
    constants = [
        graph.constant(f"columns.{name}", np.array([value], np.int64))
        for name, value in bounds.items()
    ]
    return graph.add("Slice", [x, *constants], output)


def _widened(
    graph: GraphBuilder, codes_scales_zeros: list[str], block: int, output: str, columns: int
) -> str:
    """Add the nodes that turn codes into numbers [..., columns]; returns `output`."""
    uncut = _uncut(output, columns)
    graph.add("DequantizeLinear", codes_scales_zeros, uncut, axis=1, block_size=block)
    return _cut(graph, columns, output)


def _codes_and_zeros(graph: GraphBuilder, weight: str, blocks: int) -> list[str]:
    """Return a weight's 4-bit codes, and its zero points in the scales' shape [outputs, blocks].

    Zero points fill whole bytes: where the number of blocks is odd, there is one too many, and
    both are widened to uint8, since Slice takes no uint4.
    """
    zeros = zeros_of(weight)
    if blocks % 2 == 0:
        return [weight, zeros]
    codes, uncut = (
        graph.add("Cast", [name], f"{name}.uint8", to=DataType.UINT8.onnx)
        for name in (weight, zeros)
    )
    return [codes, _first(graph, uncut, blocks, f"{zeros}.cut")]


def _middle_codes(graph: GraphBuilder, scales: str) -> str:
    """Add zero points of 128 in the scales' shape; returns their name."""
    zeros = f"{scales}.zeros"
    if not graph.has(zeros):
        shape = graph.add("Shape", [scales], f"{scales}.shape")
        value = helper.make_tensor("value", DataType.UINT8.onnx, [1], [_MIDDLE])
        graph.add("ConstantOfShape", [shape], zeros, value=value)
    return zeros
