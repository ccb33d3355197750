"""ONNX models: the strict reader and onnx's own parser see the same, or the reader refuses.

Mutations keep the nesting intact, so that they reach every message: fields are repeated, left out,
moved, written with other wire types and in more bytes than they need.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import Random, Target, mutate_bytes
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Proto
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import ModelProto, TensorProto, helper, numpy_helper

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.model_files import onnx_schema
from gptneo_onnx.runtime.model_files.onnx_schema import ModelSchemas
from gptneo_onnx.runtime.model_files.protobuf import Kind, Message, Schema

_NUMBERS = (0, 1, 2, 7, 14, 15, 127, 128, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**63 - 1, 2**63,
            2**64 - 1, 2**64 - 2**31, 2**64)  # fmt: skip


def seeds() -> list[bytes]:
    return [_fused_kind().SerializeToString(), _portable_kind().SerializeToString()]


def _fused_kind() -> ModelProto:
    """A model with every field that the fused schemas allow."""
    weight = TensorProto(name="w", data_type=1, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "model.onnx_data"), ("offset", "4096"), ("length", "24")):
        weight.external_data.add(key=key, value=value)
    inline = numpy_helper.from_array(np.array([1, -2], np.int64), "axes")
    node = helper.make_node(
        "MatMul", ["x", "w"], ["y"], "first", domain="com.microsoft", f=1.5, i=-7, s="text",
        ints=[-1, 2, 2**40], doc_string="why",
    )  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "graph",
        [value("x", 1, ["batch", 2]), value("empty", 7, [])],
        [value("y", 1, [None, 3])],
        [weight, inline],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, producer_name="test", model_version=3)


def _portable_kind() -> ModelProto:
    """The same with what only the portable schemas allow."""
    model = _fused_kind()
    graph = model.graph
    constant = numpy_helper.from_array(np.arange(3, dtype=np.float32), "constant")
    branch = helper.make_graph([], "branch", [], [graph.output[0]], [constant])
    graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    graph.node.append(helper.make_node("Constant", [], ["k"], value=constant))
    graph.node.append(helper.make_node("Other", [], ["k"], strings=["a", "b"]))
    for kind, numbers in ((1, [0.5]), (6, [-3, 4]), (7, [-5, 2**40]), (11, [0.25]), (13, [9])):
        graph.initializer.append(helper.make_tensor("listed", kind, [len(numbers)], numbers))
    graph.value_info.append(graph.input[0])
    graph.input[0].type.denotation = "TEXT"
    model.metadata_props.add(key="a", value="b")
    graph.metadata_props.add(key="a", value="b")
    return model


def run(data: bytes, folder: Path) -> None:
    """Compare what both readers see; raise ModelFileError if ours refuses the whole model."""
    refusals = []
    for schemas in (onnx_schema.FUSED, onnx_schema.PORTABLE):
        try:
            ours = Message(schemas.model, memoryview(data))
        except ModelFileError as error:
            refusals.append(error)
            continue
        try:
            theirs = ModelProto.FromString(data)
        except DecodeError:
            continue  # ONNX Runtime refuses it as well, whatever a check says of parts of it
        _compare(ours, theirs, _schemas_by_type(schemas))
    if len(refusals) == 2:
        raise refusals[-1]


def _schemas_by_type(schemas: ModelSchemas) -> dict[str, Schema]:
    return {
        "ModelProto": schemas.model,
        "OperatorSetIdProto": onnx_schema.OPSET,
        "GraphProto": schemas.graph,
        "NodeProto": schemas.node,
        "AttributeProto": schemas.attribute,
        "TensorProto": schemas.tensor,
        "ValueInfoProto": schemas.value,
        "TypeProto": schemas.value_type,
        "Tensor": onnx_schema.TENSOR_TYPE,
        "TensorShapeProto": onnx_schema.SHAPE,
        "Dimension": schemas.dimension,
    }


def _compare(ours: Message, theirs: Proto, schemas: dict[str, Schema]) -> None:
    """Compare two readings of a message that ours has not refused, and of the messages in it."""
    assert not len(UnknownFieldSet(theirs)), f"{ours.schema.name}: passed over by the parser"
    for name, kind in ours.schema.fields.values():
        field = theirs.DESCRIPTOR.fields_by_name[name]
        value = getattr(theirs, name)
        where = f"{ours.schema.name}'s {name}"
        if field.message_type is not None:
            parts = [value] if not kind.is_repeated and theirs.HasField(name) else value
            parts = parts if kind.is_repeated or theirs.HasField(name) else []
            views = ours.views(name)
            assert len(views) == len(parts), where
            schema = schemas.get(field.message_type.name)
            for view, part in zip(views, parts, strict=True):
                if schema is not None and (message := _accepted(schema, view)) is not None:
                    _compare(message, part, schemas)
        elif kind in (Kind.INTEGERS, Kind.SIZES):
            assert ours.integers(name) == list(value), where
        elif (field.is_repeated and not kind.is_repeated) or name == "floats":
            _compare_lists(ours.views(name), value, field.type, where)
        elif kind is Kind.REPEATED_BYTES:
            texts = [each.encode() if isinstance(each, str) else each for each in value]
            assert [bytes(view) for view in ours.views(name)] == texts, where
        else:
            assert (name in ours) == theirs.HasField(name), where
            _compare_single(ours, name, kind, value, where)


def _accepted(schema: Schema, view: memoryview) -> Message | None:
    try:
        return Message(schema, view)
    except ModelFileError:
        return None


def _compare_single(ours: Message, name: str, kind: Kind, value: Any, where: str) -> None:
    if kind is Kind.FLOAT:
        if name in ours:
            (number,) = struct.unpack("<f", ours.view(name))
            assert number == value or (math.isnan(number) and math.isnan(value)), where
    elif kind is Kind.BYTES:
        if isinstance(value, bytes):
            assert bytes(ours.view(name)) == value, where
            return
        try:
            text = ours.text(name)
        except ModelFileError:
            return
        assert text == value, where
    else:
        assert ours.integer(name) == value, where


def _compare_lists(views: list[memoryview], values: Any, kind: int, where: str) -> None:
    """Compare the lengths of packed numbers, which the reader does not look into."""
    content = b"".join(views)
    sizes = {1: 8, 2: 4}  # of double and float
    size = sizes.get(kind)
    count = sum(byte < 128 for byte in content) if size is None else len(content) / size
    assert count == len(values), where


# Mutations.


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    if random.random() < 0.1:
        return mutate_bytes(random, data, seeds)
    for _ in range(random.randint(1, 3)):
        data = _mutated(random, data, seeds)
    return data


def _mutated(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Change one of the messages in a message, or the message itself."""
    chunks = list(_chunks(data))
    inner = [index for index, (_, wire, payload) in enumerate(chunks) if wire == 2 and payload]
    if inner and random.random() < 0.85:
        index = random.choice(inner)
        number, wire, payload = chunks[index]
        chunks[index] = number, wire, _mutated(random, payload, seeds)
        return b"".join(_encoded(*chunk) for chunk in chunks)
    return _changed(random, chunks, seeds) if chunks else mutate_bytes(random, data, seeds)


def _changed(random: Random, chunks: list[tuple[int, int, bytes]], seeds: list[bytes]) -> bytes:
    index = random.randrange(len(chunks))
    number, wire, payload = chunks[index]
    extra = 0
    match random.randrange(9):
        case 0:
            chunks.insert(random.randrange(len(chunks) + 1), chunks[index])
        case 1:
            del chunks[index]
        case 2:
            random.shuffle(chunks)
        case 3:
            numbers = random.choices(_NUMBERS, k=random.randint(0, 3))
            packed = b"".join(_varint(each, random.choice((0, 0, 3))) for each in numbers)
            chunks[index] = number, 2, packed
        case 4:
            chunks[index] = number, 0, _varint(random.choice(_NUMBERS), random.choice((0, 0, 10)))
        case 5:
            wire = random.choice((1, 5))
            chunks[index] = number, wire, random.randbytes(8 if wire == 1 else 4)
        case 6:
            number = random.choice((0, *range(1, 21), 2**29 - 1, 2**29 + number))
            value = random.choice(chunks)[1:]
            chunks.insert(random.randrange(len(chunks) + 1), (number, *value))
        case 7:
            chunks[index] = number, wire, mutate_bytes(random, payload, seeds)
        case 8:
            extra = random.choice((2, 5, 6, 11))
    return b"".join(
        _encoded(*chunk, extra if place == index else 0) for place, chunk in enumerate(chunks)
    )


def _chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (field number, wire type, encoded value), as far as the bytes are fields."""
    position = 0
    try:
        while position < len(data):
            tag, position = _read_varint(data, position)
            wire = tag & 7
            if wire == 0:
                start = position
                _, position = _read_varint(data, position)
                yield tag >> 3, wire, data[start:position]
                continue
            if wire == 2:
                length, position = _read_varint(data, position)
            else:
                length = {1: 8, 5: 4}[wire]
            yield tag >> 3, wire, data[position : position + length]
            position += length
    except (IndexError, KeyError):
        return


def _encoded(number: int, wire: int, payload: bytes, length: int = 0) -> bytes:
    size = _varint(len(payload), length) if wire == 2 else b""
    return _varint(number << 3 | wire, length) + size + payload


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    result, shift = 0, 0
    while data[position] >= 128:
        result |= (data[position] & 127) << shift
        shift, position = shift + 7, position + 1
    return result | data[position] << shift, position + 1


def _varint(number: int, length: int = 0) -> bytes:
    """Encode a number in at least `length` bytes."""
    groups = bytearray()
    while number >= 128 or len(groups) + 1 < length:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


TARGET = Target(seeds, run, mutate)
