"""Weights of w8a8: 7 or 8 bits with a scale for each output.

Fused graphs round activations to 8 bits, with a scale for each row, and multiply by
MatMulIntegerToFloat. So a row's result does not depend on the other rows, as it would with
DynamicQuantizeMatMul, which takes one scale for all of them. Portable graphs widen the weights by
DequantizeLinear and multiply floats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gptneo_onnx.export.graphs.builder import MICROSOFT, GraphBuilder
from gptneo_onnx.export.graphs.layers import Layer, Product, scales_of
from gptneo_onnx.export.weights.conversion import transpose_into
from gptneo_onnx.export.weights.quantization import quantize_outputs
from gptneo_onnx.export.weights.weight_group import Arrays, WeightGroup, WeightSpec
from gptneo_onnx.models.graph import DataType

# int64 [1], which the graph has to make: the rows of the activations [rows, inputs].
ROW_COUNT = "row_count"
# The code of 0 among 256: in the middle, or, for rows that are hardly negative, low.
_SIGNED_ZERO, _LOW_ZERO = 128, 32


@dataclass(frozen=True)
class W8A8Linear:
    """Linear layers stored as codes int8 [in, out], with scales [out].

    Attributes:
        bits: 8, or 7, whose sums never saturate: processors without VNNI or AMX, as those with AVX2
            alone, add pairs of products in 16 bits.
    """

    bits: int
    takes_rows: ClassVar[bool] = True

    def group(self, layer: Layer) -> WeightGroup:
        codes = WeightSpec(layer.name, DataType.INT8, (layer.inputs, layer.outputs))
        scales = WeightSpec(scales_of(layer.name), DataType.FLOAT32, (layer.outputs,))
        return WeightGroup((codes, scales), partial(self._quantized, layer))

    def _quantized(self, layer: Layer) -> Iterator[Arrays]:
        quantized = quantize_outputs(layer.read(), self.bits, layer.moments)
        codes = np.empty(quantized.codes.shape[::-1], np.int8)
        transpose_into(codes, quantized.codes)
        yield {layer.name: codes, scales_of(layer.name): quantized.scales}

    def fused_product(
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
        """Add the nodes that round x [rows, inputs] to codes uint8; x is at least `x_minimum`.

        A row of zeros has the scale 0, and its codes may be anything: times 0 they are 0 again.

        Returns:
            The names of codes, scales [rows] and the zero point.
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

    def portable_product(
        self, graph: GraphBuilder, product: Product, output: str, bias: str = ""
    ) -> str:
        weight = product.weight
        widened = graph.add(
            "DequantizeLinear", [weight, scales_of(weight)], f"{output}.widened", axis=1
        )
        return graph.add("Gemm", [product.x, widened, *([bias] if bias else [])], output)
