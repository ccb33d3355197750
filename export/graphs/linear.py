"""The formats of linear layers: which weights each stores, and which nodes multiply by them.

- FloatLinear: MatMul.
- BlockLinear: MatMulNBits, weights of 4 or 8 bits in blocks along the inputs.
- RowLinear: MatMulIntegerToFloat, weights of 7 or 8 bits with a scale for each output, activations
  of 8 bits with a scale for each row. A row's result does not depend on the other rows. (With
  DynamicQuantizeMatMul it would: that takes one scale for them all.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.builder import MICROSOFT, GraphBuilder
from gptneo_onnx.export.weights.graph_weight import NUMPY_TYPES, Blocks, GraphWeight, converted
from gptneo_onnx.export.weights.quantization import (
    Floats,
    quantize_blocks_4bit,
    quantize_blocks_8bit,
    quantize_outputs,
)
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision

# Chosen by measurement: see docs/precision.md.
BLOCKS = {4: 128, 8: 128}
LEAST_BLOCK = 16
# Sums of 8-bit products instead of float ones: thirty times faster.
_ACCURACY_LEVEL = 4
# The code of 0 among 256: in the middle, or, for rows that are hardly negative, low.
_SIGNED_ZERO, _LOW_ZERO = 128, 32
ROW_COUNT = "row_count"  # int64 [1]: rows of the activations [rows, inputs] that RowLinear takes

_CACHE_LINE_BYTES = 64


@dataclass(frozen=True)
class Layer:
    """A linear layer.

    Attributes:
        name: its weight's.
        matrices: what its weight joins, each [out, in].
        moments: gives the second moments of its inputs, [in, in], or None if no text was read.
    """

    name: str
    matrices: Sequence[StoredTensor]
    moments: Callable[[], Floats | None]

    @property
    def inputs(self) -> int:
        return self.matrices[0].shape[1]

    @property
    def outputs(self) -> int:
        return sum(matrix.shape[0] for matrix in self.matrices)

    def read(self) -> Floats:
        """[out, in] in float32."""
        parts = [converted(each.read(), each, DataType.FLOAT32) for each in self.matrices]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class LinearFormat(Protocol):
    """How linear layers are stored and multiplied by."""

    def weights(self, layer: Layer) -> list[GraphWeight]:
        """The layer's initializers."""

    def multiply(
        self, graph: GraphBuilder, product: "Product", output: str, x_minimum: float | None = None
    ) -> str:
        """Add what computes a layer's product, without its bias; returns `output`.

        `x_minimum` is the least value that x can hold, where that is known.
        """


@dataclass(frozen=True)
class Product:
    """x [..., inputs] by the weights of a layer: [..., outputs]."""

    x: str
    weight: str
    inputs: int
    outputs: int


def linear_format(numbers: NumberFormat) -> LinearFormat:
    """The format that a precision stands for."""
    match numbers.precision:
        case Precision.INT8:
            return BlockLinear(8, numbers.activations)
        case Precision.INT4:
            return BlockLinear(4, numbers.activations)
        case Precision.W8A8:
            return RowLinear(bits=7 if numbers.reduce_range else 8)
        case _:
            return FloatLinear(numbers.activations)


@dataclass(frozen=True)
class FloatLinear:
    """Weights as activations are, stored [in, out] as MatMul multiplies."""

    data_type: DataType

    def weights(self, layer: Layer) -> list[GraphWeight]:
        shape = (layer.inputs, layer.outputs)
        return [GraphWeight(layer.name, self.data_type, shape, lambda: self._transposed(layer))]

    def multiply(
        self, graph: GraphBuilder, product: Product, output: str, x_minimum: float | None = None
    ) -> str:
        return graph.add("MatMul", [product.x, product.weight], output)

    def _transposed(self, layer: Layer) -> Blocks:
        target = np.empty((layer.inputs, layer.outputs), NUMPY_TYPES[self.data_type])
        column = 0
        for matrix in layer.matrices:
            source = converted(matrix.read(), matrix, self.data_type)
            transpose_into(target[:, column : column + len(source)], source)
            column += len(source)
        yield target


@dataclass(frozen=True)
class BlockLinear:
    """Weights [out, in] of 4 or 8 bits, a scale for each block of inputs."""

    bits: int
    data_type: DataType

    def weights(self, layer: Layer) -> list[GraphWeight]:
        block = block_size(layer.inputs, self.bits)
        rows, blocks, name = layer.outputs, layer.inputs // block, layer.name
        parts = _Parts(lambda: self._quantized(layer, block))
        codes, zeros = (rows, blocks, block * self.bits // 8), (rows, -(-blocks // 2))
        found = [
            GraphWeight(name, DataType.UINT8, codes, parts.reader(0)),
            GraphWeight(scales_of(name), self.data_type, (rows, blocks), parts.reader(1)),
        ]
        if self.bits == 4:
            found.append(GraphWeight(zeros_of(name), DataType.UINT8, zeros, parts.reader(2)))
        return found

    def multiply(
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

    def _quantized(self, layer: Layer, block: int) -> list[NDArray[Any]]:
        quantize = quantize_blocks_8bit if self.bits == 8 else quantize_blocks_4bit
        quantized = quantize(layer.read(), block, layer.moments())
        scales = quantized.scales.astype(NUMPY_TYPES[self.data_type])
        zeros = [] if quantized.zero_points is None else [quantized.zero_points]
        return [quantized.codes, scales, *zeros]


@dataclass(frozen=True)
class RowLinear:
    """Weights [in, out] of 7 or 8 bits with a scale for each output, by rows of 8 bits.

    Attributes:
        bits: 7 keeps processors that add pairs of products in 16 bits, as those with AVX2 and no
            VNNI do, from cutting off sums.
    """

    bits: int

    def weights(self, layer: Layer) -> list[GraphWeight]:
        parts = _Parts(lambda: self._quantized(layer))
        shape = (layer.inputs, layer.outputs)
        return [
            GraphWeight(layer.name, DataType.INT8, shape, parts.reader(0)),
            GraphWeight(scales_of(layer.name), DataType.FLOAT32, shape[1:], parts.reader(1)),
        ]

    def multiply(
        self, graph: GraphBuilder, product: Product, output: str, x_minimum: float | None = None
    ) -> str:
        codes, scale, zero = self._quantize_rows(graph, product.x, output, x_minimum)
        one = graph.constant("one", np.float32(1))
        by_rows = graph.add(
            "MatMulIntegerToFloat",
            [codes, product.weight, one, scales_of(product.weight), zero],
            f"{output}.unscaled",
            MICROSOFT,
        )
        column = graph.constant("column", np.array([-1, 1]))
        scales = graph.add("Reshape", [scale, column], f"{output}.row_scales")  # [rows, 1]
        return graph.add("Mul", [by_rows, scales], output)

    def _quantize_rows(
        self, graph: GraphBuilder, x: str, output: str, x_minimum: float | None
    ) -> tuple[str, str, str]:
        """x [rows, inputs] as codes uint8, with scales [rows] and a zero point.

        A row of zeros has the scale 0 and codes of any kind: times 0 they are 0 again.
        """
        axis = graph.constant("last_axis", np.array([-1]))
        if x_minimum is None:
            zero = _SIGNED_ZERO
            x_size = graph.add("Abs", [x], f"{output}.sizes")
        else:
            zero = _LOW_ZERO
            x_size = x
        largest = graph.add("ReduceMax", [x_size, axis], f"{output}.largest", keepdims=0)
        step = graph.constant(f"step.{zero}", np.float32(1 / (255 - zero)))
        scale = graph.add("Mul", [largest, step], f"{output}.scales")
        if x_minimum is not None:
            bound = graph.constant(f"least_scale.{zero}", np.float32(-x_minimum / zero))
            scale = graph.add("Max", [scale, bound], f"{output}.bounded_scales")
        zero_point = graph.constant(f"zero.{zero}", np.uint8(zero))
        zeros = f"row_zeros.{zero}"
        if not graph.has(zeros):
            graph.add("Expand", [zero_point, ROW_COUNT], zeros)  # [rows]
        codes = graph.add("QuantizeLinear", [x, scale, zeros], f"{output}.codes", axis=0)
        return codes, scale, zero_point

    def _quantized(self, layer: Layer) -> list[NDArray[Any]]:
        quantized = quantize_outputs(layer.read(), self.bits, layer.moments())
        codes = np.empty(quantized.codes.shape[::-1], np.int8)
        transpose_into(codes, quantized.codes)
        return [codes, quantized.scales]


def block_size(inputs: int, bits: int) -> int:
    """The chosen size, or the largest power of 2 below it that divides the inputs.

    4-bit blocks are even in number where that can be: their zero points then fill whole bytes.

    Raises:
        InputError: no block of a size that the operators know does.
    """
    block, together = BLOCKS[bits], 8 // bits
    while inputs % (together * block) and block > LEAST_BLOCK:
        block //= 2
    if inputs % block:
        raise InputError(
            f"a layer has {inputs} inputs, and blocks of {bits} bits need a multiple of "
            f"{LEAST_BLOCK}; export with --precision fp32 or w8a8"
        )
    return block


def transpose_into(target: NDArray[Any], source: NDArray[Any]) -> None:
    """target = source.T, a cache line of rows at a time: five times as fast as in one go."""
    rows = _CACHE_LINE_BYTES // source.dtype.itemsize
    for start in range(0, len(source), rows):
        target[:, start : start + rows] = source[start : start + rows].T


def scales_of(weight: str) -> str:
    """The name of a weight's scales."""
    return f"{weight}.scales"


def zeros_of(weight: str) -> str:
    """The name of a weight's zero points."""
    return f"{weight}.zero_points"


class _Parts:
    """Several weights made of one matrix: computed for the first, each kept until it is read."""

    def __init__(self, compute: Callable[[], list[NDArray[Any]]]) -> None:
        self._compute = compute
        self._waiting: dict[int, NDArray[Any]] = {}

    def reader(self, index: int) -> Callable[[], Blocks]:
        def read() -> Blocks:
            if index not in self._waiting:
                self._waiting = dict(enumerate(self._compute()))
            yield self._waiting.pop(index)

        return read
