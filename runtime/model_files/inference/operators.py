"""The operators that portable graphs may have, each with the rule for its results.

These are what this project, Optimum, PyTorch's exporters, ONNX Runtime's quantizer and its graph
optimizations write for a GPT-Neo, and others of the same harmless kinds. docs/graphs.md lists them.
"""

from collections.abc import Callable, Mapping

from gptneo_onnx.runtime.model_files.inference import (
    rules_elementwise,
    rules_products,
    rules_selection,
    rules_shapes,
)
from gptneo_onnx.runtime.model_files.inference.call import Call
from gptneo_onnx.runtime.model_files.inference.values import Value

Rule = Callable[[Call], tuple[Value, ...]]
# By operator domain and type.
Rules = Mapping[tuple[str, str], Rule]

STANDARD, MICROSOFT = "", "com.microsoft"
# Both names are the standard operators'.
STANDARD_DOMAINS = (STANDARD, "ai.onnx")
# The operator with a graph for each of two cases: walk.py goes through both.
IF = "If"


def _rules(domain: str, rules: Mapping[Rule, str]) -> dict[tuple[str, str], Rule]:
    return {(domain, name): rule for rule, names in rules.items() for name in names.split()}


PORTABLE: Rules = {
    **_rules(
        STANDARD,
        {
            rules_elementwise.elementwise: (
                "Add Sub Mul Pow PRelu Min Max Mean Sum And Or Xor Equal Less LessOrEqual Greater "
                "GreaterOrEqual Identity"
            ),
            rules_elementwise.integer_division: "Div Mod",
            rules_elementwise.where: "Where",
            rules_elementwise.inverse: "Not Neg",
            rules_elementwise.cast: "Cast CastLike",
            rules_elementwise.same: (
                "Abs Ceil Celu Clip Cos CumSum Dropout Elu Erf Exp Floor Gelu HardSigmoid "
                "HardSwish LeakyRelu Log LogSoftmax Mish Reciprocal Relu Round Selu Sigmoid Sign "
                "Sin Softmax Softplus Softsign Sqrt Tanh ThresholdedRelu Trilu"
            ),
            rules_elementwise.is_true: "IsInf IsNaN",
            rules_elementwise.normalization: (
                "LayerNormalization RMSNormalization SimplifiedLayerNormalization"
            ),
            rules_elementwise.range_of: "Range",
            rules_shapes.constant: "Constant",
            rules_shapes.shape: "Shape",
            rules_shapes.size: "Size",
            rules_shapes.reshape: "Reshape",
            rules_shapes.unsqueeze: "Unsqueeze",
            rules_shapes.squeeze: "Squeeze",
            rules_shapes.flatten: "Flatten",
            rules_shapes.transpose: "Transpose",
            rules_shapes.expand: "Expand",
            rules_shapes.tile: "Tile",
            rules_shapes.constant_of_shape: "ConstantOfShape",
            rules_shapes.pad: "Pad",
            rules_shapes.concat: "Concat",
            rules_shapes.split: "Split",
            rules_shapes.eye_like: "EyeLike",
            rules_selection.gather: "Gather",
            rules_selection.gather_elements: "GatherElements",
            rules_selection.gather_nd: "GatherND",
            rules_selection.like_first: "ScatterElements ScatterND",
            rules_selection.cut: "Slice",
            rules_selection.non_zero: "NonZero",
            rules_selection.one_hot: "OneHot",
            rules_selection.top_k: "TopK",
            rules_selection.arg: "ArgMax ArgMin",
            rules_selection.reduce: (
                "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
                "ReduceProd ReduceSum ReduceSumSquare"
            ),
            rules_products.matmul: "MatMul",
            rules_products.gemm: "Gemm",
            rules_products.matmul_integer: "MatMulInteger",
            rules_products.quantized_matmul: "QLinearMatMul",
            rules_products.quantize: "QuantizeLinear",
            rules_products.dequantize: "DequantizeLinear",
            rules_products.dynamic_quantize: "DynamicQuantizeLinear",
        },
    ),
    **_rules(
        MICROSOFT,
        {
            rules_elementwise.same: "BiasGelu FastGelu Gelu QuickGelu",
            rules_elementwise.normalization: (
                "SkipLayerNormalization SkipSimplifiedLayerNormalization"
            ),
            rules_elementwise.embed_layer_normalization: "EmbedLayerNormalization",
            rules_products.fused_matmul: "FusedMatMul TransposeMatMul",
            rules_products.gemm: "FusedGemm",
            rules_products.quantized_gemm: "QGemm",
            rules_products.matmul_to_float: "DynamicQuantizeMatMul MatMulIntegerToFloat",
            rules_products.quantized_pair: "QLinearAdd QLinearMul",
            rules_products.matmul_blocks: "MatMulBnb4 MatMulNBits",
            rules_products.quantize: "QuantizeLinear",
            rules_products.dequantize: "DequantizeLinear",
            rules_products.attention: "Attention",
            rules_products.multi_head_attention: "MultiHeadAttention",
            rules_products.group_query_attention: "GroupQueryAttention",
            rules_selection.gather_blocks: "GatherBlockQuantized",
        },
    ),
}

# Operators that divide, which ends the process for some whole numbers.
DIVISIONS = frozenset({"Div", "Mod"})
# Operators that multiply matrices: what they take is more than their results say.
PRODUCTS = frozenset(
    {
        "Attention", "DynamicQuantizeMatMul", "FusedGemm", "FusedMatMul", "Gemm",
        "GroupQueryAttention", "MatMul", "MatMulBnb4", "MatMulInteger", "MatMulIntegerToFloat",
        "MatMulNBits", "MultiHeadAttention", "QGemm", "QLinearMatMul", "TransposeMatMul",
    }
)  # fmt: skip
# Operators that are addressed by numbers of their inputs, which releases of ONNX Runtime did not
# compare with the sizes of their tensors.
ADDRESSED = frozenset(
    {"Attention", "EmbedLayerNormalization", "GroupQueryAttention", "MultiHeadAttention"}
)
# Inputs that may be left out before others that are given, by operator. Kernels read all others.
MAY_BE_MISSING: Mapping[str, frozenset[int]] = {
    "Attention": frozenset(range(3, 8)),
    "Clip": frozenset({1, 2}),
    "DequantizeLinear": frozenset({2}),
    "Dropout": frozenset({1, 2}),
    "DynamicQuantizeMatMul": frozenset({3, 4}),
    "EmbedLayerNormalization": frozenset({1, 4, 7, 8}),
    "GatherBlockQuantized": frozenset({3}),
    "Gemm": frozenset({2}),
    "FusedGemm": frozenset({2}),
    "GroupQueryAttention": frozenset({1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13}),
    "MatMulInteger": frozenset({2, 3}),
    "MatMulIntegerToFloat": frozenset({4, 5, 6}),
    "MatMulNBits": frozenset({3, 4, 5}),
    "MultiHeadAttention": frozenset(range(1, 10)),
    "Pad": frozenset({2, 3}),
    "QGemm": frozenset({6, 7, 8}),
    "QLinearAdd": frozenset({2, 5, 7}),
    "QLinearMul": frozenset({2, 5, 7}),
    "QuantizeLinear": frozenset({2}),
    "SkipLayerNormalization": frozenset({3, 4}),
    "SkipSimplifiedLayerNormalization": frozenset({3}),
    "Slice": frozenset({3, 4}),
    **dict.fromkeys(
        ("BiasGelu", "FastGelu", "ReduceMean", "Split", "Squeeze", "Trilu"), frozenset({1})
    ),
}
