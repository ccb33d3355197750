"""A graph of two nodes that moves rows of a cache on the device that it lives on.

    kept, rows -> Concat(axis) -> Gather(axis, indices) -> moved

`moved` may be bound to the memory of `rows`: the concatenation in between is a tensor of its own.
Elements are moved as integers of their size, so that one graph serves every float type. Encoded by
hand, as the runtime does without the onnx package.

Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

KEPT, ROWS, INDICES, MOVED = "kept", "rows", "indices", "moved"
# onnx.TensorProto.DataType of an integer with as many bytes.
ELEMENT_TYPES = {2: 5, 4: 6}
_INT64 = 7
_IR_VERSION, _OPSET = 10, 21
_ATTRIBUTE_INT = 2


def gather_graph(axis: int, itemsize: int) -> bytes:
    """A serialized ModelProto for tensors [slots, heads, rows, head_dim] of that element size."""
    element = ELEMENT_TYPES[itemsize]
    joined = "joined"
    graph = b"".join(
        (
            _node("Concat", [KEPT, ROWS], joined, axis),
            _node("Gather", [joined, INDICES], MOVED, axis),
            _bytes(2, b"gather"),
            _bytes(11, _value(KEPT, element, 4)),
            _bytes(11, _value(ROWS, element, 4)),
            _bytes(11, _value(INDICES, _INT64, 1)),
            _bytes(12, _value(MOVED, element, 4)),
        )
    )
    opset = _integer(2, _OPSET)
    return _integer(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, opset)


def _node(operator: str, inputs: list[str], output: str, axis: int) -> bytes:
    attribute = _bytes(1, b"axis") + _integer(3, axis) + _integer(20, _ATTRIBUTE_INT)
    return _bytes(
        1,
        b"".join(_bytes(1, name.encode()) for name in inputs)
        + _bytes(2, output.encode())
        + _bytes(3, output.encode())
        + _bytes(4, operator.encode())
        + _bytes(5, attribute),
    )


def _value(name: str, element: int, rank: int) -> bytes:
    """A ValueInfoProto whose axes have names of their own."""
    axes = b"".join(_bytes(1, _bytes(2, f"{name}_{axis}".encode())) for axis in range(rank))
    tensor = _integer(1, element) + _bytes(2, axes)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
