"""Rules of operators that multiply matrices, and of those that quantize what is multiplied.

Operators: https://onnx.ai/onnx/operators and
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.call import Call
from gptneo_onnx.runtime.model_files.inference.sizes import Number
from gptneo_onnx.runtime.model_files.inference.values import (
    FLOAT,
    INT32,
    UINT8,
    Numbers,
    Value,
    broadcast,
    value,
)

Values = tuple[Value, ...]


def inner_size(call: Call) -> int:
    """Return the factors of each sum of a product, for what its computation takes."""
    dims = call.dims(0)
    if not dims:
        return 1
    first = call.integer("transA", 0) and len(dims) > 1
    return max(1, sizes.most(dims[-2] if first else dims[-1]))


def _product(left: Numbers, right: Numbers) -> Numbers:
    """Return the axes of a matrix product, as numpy has them."""
    if not left or not right:
        return left or right
    rows, columns = left[-2:-1], right[-1:] if len(right) > 1 else ()
    return (*broadcast(left[:-2], right[:-2]), *rows, *columns)


def _turned(dims: Numbers, turn: int) -> Numbers:
    return (*dims[:-2], dims[-1], dims[-2]) if turn and len(dims) > 1 else dims


def matmul(call: Call) -> Values:
    return (value(call.input(0).element_type, _product(call.dims(0), call.dims(1))),)


def fused_matmul(call: Call) -> Values:
    """FusedMatMul, which may turn both; one that turns axes of the batch is not looked into."""
    left = _turned(call.dims(0), call.integer("transA", 0))
    right = _turned(call.dims(1), call.integer("transB", 0))
    if call.integer("transBatchA", 0) or call.integer("transBatchB", 0):
        raise call.wrong("turns axes of the batch, which is not done here")
    return (value(call.input(0).element_type, _product(left, right)),)


def gemm(call: Call) -> Values:
    left = _turned(call.dims(0), call.integer("transA", 0))
    right = _turned(call.dims(1), call.integer("transB", 0))
    if len(left) != 2 or len(right) != 2:
        raise call.wrong("multiplies tensors that are no matrices")
    return (value(call.input(0).element_type, (left[0], right[1])),)


def quantized_gemm(call: Call) -> Values:
    """QGemm: the factors are the inputs 0 and 3; the result is quantized where it has a zero."""
    _check_filled(call)
    left = _turned(call.dims(0), call.integer("transA", 0))
    right = _turned(call.dims(3), call.integer("transB", 0))
    if len(left) != 2 or len(right) != 2:
        raise call.wrong("multiplies tensors that are no matrices")
    element_type = call.input(8).element_type if call.has(8) else FLOAT
    return (value(element_type, (left[0], right[1])),)


def _check_filled(call: Call) -> None:
    """Refuse factors that may be empty, by whose sizes kernels for whole numbers divide."""
    if any(sizes.least(size) < 1 for each in call.given() for size in each.dims or ()):
        raise call.wrong("multiplies tensors that may be empty")


def matmul_integer(call: Call) -> Values:
    _check_filled(call)
    return (value(INT32, _product(call.dims(0), call.dims(1))),)


def matmul_to_float(call: Call) -> Values:
    """MatMulIntegerToFloat and DynamicQuantizeMatMul."""
    _check_filled(call)
    return (value(FLOAT, _product(call.dims(0), call.dims(1))),)


def quantized_matmul(call: Call) -> Values:
    """QLinearMatMul: the factors are the inputs 0 and 3."""
    _check_filled(call)
    zero = call.input(7) if call.has(7) else call.input(0)
    return (value(zero.element_type, _product(call.dims(0), call.dims(3))),)


def quantized_pair(call: Call) -> Values:
    """QLinearAdd and QLinearMul: the operands are the inputs 0 and 3."""
    return (value(call.input(0).element_type, broadcast(call.dims(0), call.dims(3))),)


def matmul_blocks(call: Call) -> Values:
    """MatMulNBits and MatMulBnb4: the columns are the attribute N, and have to be the weight's."""
    _check_filled(call)
    dims, columns, inner = call.dims(0), call.integer("N", 0), call.integer("K", 0)
    if not dims or dims[-1] != inner:
        raise call.wrong(f"multiplies {inner} columns, and gets others")
    weight = call.input(1)
    if not 0 < columns <= max(1, weight.most):
        raise call.wrong(f"gives {columns} columns of a weight of {weight.most} bytes")
    if call.operator == "MatMulNBits":
        _check_blocks(call, columns, inner)
    else:
        _check_pairs(call, columns * inner)
    return (value(call.input(0).element_type, (*dims[:-1], columns)),)


def _check_blocks(call: Call, columns: int, inner: int) -> None:
    """Refuse a weight that is not as long as its blocks are; kernels do not all look."""
    bits, block = call.integer("bits", 4), call.integer("block_size", 0)
    if not 2 <= bits <= 8 or block < 16 or block & (block - 1):
        raise call.wrong(f"has blocks of {block} weights of {bits} bits")
    blocks = -(-inner // block)
    if call.input(1).most != columns * blocks * (block * bits // 8):
        raise call.wrong("has a weight of another size than its blocks")
    if call.input(2).most != columns * blocks:
        raise call.wrong("has scales for another number of blocks")
    if call.has(3):
        zeros = call.input(3)
        packed = columns * (-(-blocks * bits // 8))
        if zeros.most != (packed if zeros.element_type == UINT8 else columns * blocks):
            raise call.wrong("has zero points for another number of blocks")
    if call.has(4):
        raise call.wrong("reorders its inputs by numbers that are not looked into")


def _check_pairs(call: Call, weights: int) -> None:
    """Refuse a weight of MatMulBnb4, two numbers in a byte, that is not as long as its blocks."""
    block = call.integer("block_size", 0)
    if block < 16 or block & (block - 1) or call.integer("quant_type", 0) not in (0, 1):
        raise call.wrong(f"has blocks of {block} weights")
    if (call.input(1).most, call.input(2).most) != (-(-weights // 2), -(-weights // block)):
        raise call.wrong("has a weight or scales of another size than its blocks")


def quantize(call: Call) -> Values:
    dims, most = call.dims(0), call.input(0).most
    element_type = call.integer("output_dtype", 0)
    if call.has(2):
        element_type = call.input(2).element_type
    return (value(element_type or UINT8, dims, None, most),)


def dequantize(call: Call) -> Values:
    dims, most = call.dims(0), call.input(0).most
    element_type = call.integer("output_dtype", 0) or call.input(1).element_type
    return (value(element_type, dims, None, most),)


def dynamic_quantize(call: Call) -> Values:
    first = value(UINT8, call.dims(0), None, call.input(0).most)
    return (first, value(FLOAT, ()), value(UINT8, ()))[: call.outputs]


def attention(call: Call) -> Values:
    """Attention of BERT's kind: query, key and value are one product of the input."""
    dims, heads = call.dims(0), max(1, call.integer("num_heads", 1))
    width = sizes.divide(call.dims(1)[-1], 3)
    listed = call.integers("qkv_hidden_sizes")
    if listed and len(listed) == 3:
        width = listed[2]
    head = sizes.divide(width, heads)
    past = call.dims(4)[-2] if call.has(4) and len(call.dims(4)) > 1 else 0
    total = sizes.add(dims[1], past)
    result = value(call.input(0).element_type, (*dims[:2], width))
    present = value(result.element_type, (2, dims[0], heads, total, head))
    return (result, present)[: call.outputs]


def multi_head_attention(call: Call) -> Values:
    query, heads = call.dims(0), max(1, call.integer("num_heads", 1))
    width = _value_width(call)
    result = value(call.input(0).element_type, (*query[:2], width))
    present = _present(call, heads, width, 6)
    return (result, present, present)[: call.outputs]


def _value_width(call: Call) -> Number:
    """Return the columns of the values: of the query where it is packed with them."""
    query = call.dims(0)
    if not call.has(1):
        return sizes.product(query[2:])
    last = call.dims(2) if call.has(2) else call.dims(1)
    return last[-1] if len(last) == 3 else sizes.multiply(last[1], last[-1])


def _present(call: Call, heads: int, width: Number, past: int) -> Value:
    query = call.dims(0)
    before = call.dims(past)[-2] if call.has(past) and len(call.dims(past)) > 1 else 0
    keys = call.dims(1)[1] if call.has(1) and len(call.dims(1)) == 3 else query[1]
    total = sizes.add(keys, before)
    return value(call.input(0).element_type, (query[0], heads, total, sizes.divide(width, heads)))


def group_query_attention(call: Call) -> Values:
    """Query, key and value in one tensor or in three; the caches keep their sizes."""
    query = call.dims(0)
    heads, kept = call.integer("num_heads", 1), call.integer("kv_num_heads", 1)
    if heads < 1 or kept < 1:
        raise call.wrong(f"has {heads} heads for {kept}")
    width = query[2] if call.has(1) else _packed(query[2], heads, kept)
    result = value(call.input(0).element_type, (*query[:2], width))
    caches = [call.input(place) if call.has(place) else result for place in (3, 4)]
    return (result, *caches)[: call.outputs]


def _packed(columns: Number, heads: int, kept: int) -> Number:
    return sizes.multiply(sizes.divide(columns, heads + 2 * kept), heads)
