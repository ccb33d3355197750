"""The strict reader of protobuf, compared with onnx's serializer and with its lenient parser."""

import struct
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, StringStringEntryProto, TensorProto, TensorShapeProto

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.model_files.protobuf import MAX_FIELDS, Kind, Message, Schema

TENSOR = Schema(
    "a tensor",
    {
        1: ("dims", Kind.INTEGERS),
        2: ("data_type", Kind.INTEGER32),
        8: ("name", Kind.BYTES),
        9: ("raw_data", Kind.BYTES),
        13: ("external_data", Kind.REPEATED_BYTES),
        14: ("data_location", Kind.ENUM),
    },
    enums={"data_location": range(2)},
)
ENTRY = Schema("an entry", {1: ("key", Kind.BYTES), 2: ("value", Kind.BYTES)})
ATTRIBUTE = Schema(
    "an attribute", {2: ("f", Kind.FLOAT), 3: ("i", Kind.INTEGER), 7: ("floats", Kind.FLOATS)}
)
int64s = st.integers(-(2**63), 2**63 - 1)


def varint(number: int, length: int = 0) -> bytes:
    """Encode a number in at least `length` bytes, which may be more than it needs."""
    encoded = bytearray()
    while number >= 0x80 or len(encoded) + 1 < length:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def number(field: int, value: int) -> bytes:
    return tag(field, 0) + varint(value)


def content(field: int, value: bytes) -> bytes:
    return tag(field, 2) + varint(len(value)) + value


def read(message: bytes, schema: Schema = TENSOR) -> Message:
    return Message(schema, memoryview(message))


def refused(message: bytes, match: str, schema: Schema = TENSOR) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        read(message, schema)
    assert "\n" not in str(caught.value)


@given(
    dims=st.lists(int64s, max_size=9),
    data_type=st.integers(0, 2**31 - 1),
    name=st.text(),
    raw_data=st.binary(),
    entries=st.lists(st.tuples(st.text(), st.text()), max_size=4),
)
def test_what_onnx_writes_is_read(
    dims: list[int], data_type: int, name: str, raw_data: bytes, entries: list[tuple[str, str]]
) -> None:
    tensor = TensorProto(dims=dims, data_type=data_type, name=name, raw_data=raw_data)
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    message = read(tensor.SerializeToString())
    assert message.integers("dims") == dims
    assert message.integer("data_type") == data_type
    assert message.text("name") == name
    assert bytes(message.view("raw_data")) == raw_data
    assert [
        (entry.text("key"), entry.text("value"))
        for entry in (read(bytes(view), ENTRY) for view in message.views("external_data"))
    ] == entries


def test_what_is_not_there_has_protobufs_default() -> None:
    message = read(b"")
    assert (message.integer("data_type"), message.integers("dims")) == (0, [])
    assert (message.text("name"), bytes(message.view("raw_data"))) == ("", b"")
    assert "name" not in message
    assert "name" in read(content(8, b""))


def test_lists_of_floats_are_read_as_onnx_writes_them_and_packed() -> None:
    written = AttributeProto(floats=[1.5, -2.0]).SerializeToString()
    packed = content(7, struct.pack("<2f", 1.5, -2.0))
    for message in (written, packed):
        views = read(message, ATTRIBUTE).views("floats")
        assert struct.unpack("<2f", b"".join(views)) == (1.5, -2.0)
    refused(content(7, b"\0" * 6), "an attribute's floats ends inside a number", ATTRIBUTE)


def test_repeated_numbers_are_read_packed_unpacked_and_mixed_as_protobuf_does() -> None:
    one, two, three = 1, 300, 2**63 - 1
    mixed = number(1, one) + content(1, varint(two) + varint(three)) + number(1, one)
    assert list(TensorProto.FromString(mixed).dims) == [one, two, three, one]
    assert read(mixed).integers("dims") == [one, two, three, one]


def test_numbers_may_be_longer_than_they_need_as_in_protobuf() -> None:
    message = tag(2, 0) + varint(5, length=9)
    assert TensorProto.FromString(message).data_type == 5
    assert read(message).integer("data_type") == 5


def test_floats_are_read_as_their_bytes() -> None:
    message = AttributeProto(f=1.5, i=7).SerializeToString()
    assert bytes(read(message, ATTRIBUTE).view("f")) == struct.pack("<f", 1.5)
    assert read(message, ATTRIBUTE).integer("i") == 7


def test_a_message_in_another_is_read_without_a_copy() -> None:
    entry = StringStringEntryProto(key="offset", value="4").SerializeToString()
    whole = content(13, entry)
    (view,) = read(whole).views("external_data")
    assert isinstance(view, memoryview)
    assert view.obj is whole


# What real parsers skip or repair: they would see another file than we do.


@pytest.mark.parametrize(
    ("twice", "name"),
    [
        (number(2, 1) + number(2, 1), "data_type"),
        (number(14, 1) + number(14, 0), "data_location"),
        (content(8, b"a") + content(8, b"b"), "name"),
        (content(9, b"a") + number(2, 1) + content(9, b""), "raw_data"),
    ],
)
def test_a_single_field_given_twice_is_refused(twice: bytes, name: str) -> None:
    TensorProto.FromString(twice)
    refused(twice, f"a tensor has its {name} twice")


@pytest.mark.parametrize("unknown", [3, 4, 12, 15, 100, 2**29 - 1])
def test_a_field_that_we_do_not_write_is_refused(unknown: int) -> None:
    refused(content(unknown, b""), f"a tensor has a field {unknown}; we write none")


@pytest.mark.parametrize(
    "entry",
    [
        tag(1, 1) + b"location",  # eight bytes: a text to whoever ignores the wire type
        tag(1, 5) + b"key\0",
        number(1, 5),
    ],
)
def test_a_text_of_another_wire_type_is_refused(entry: bytes) -> None:
    assert StringStringEntryProto.FromString(entry).key == ""
    refused(entry, r"an entry's key has wire type [015]", ENTRY)


@pytest.mark.parametrize("message", [tag(1, 1) + b"location", tag(1, 5) + b"dims"])
def test_a_repeated_number_of_fixed_size_is_refused(message: bytes) -> None:
    """A parser passes it over: it must not be read as packed numbers."""
    assert not TensorProto.FromString(message).dims
    refused(message, "a tensor's dims has wire type [15]")


@pytest.mark.parametrize("message", [tag(2, 5) + bytes(4), tag(14, 1) + bytes(8), content(2, b"")])
def test_a_number_of_another_wire_type_is_refused(message: bytes) -> None:
    refused(message, "has wire type")


def test_a_float_of_another_wire_type_is_refused() -> None:
    refused(tag(2, 1) + bytes(8), "attribute's f has wire type 1", ATTRIBUTE)


@pytest.mark.parametrize("wire_type", [3, 4, 6, 7])
def test_groups_and_undefined_wire_types_are_refused(wire_type: int) -> None:
    refused(tag(8, wire_type), f"damaged: wire type {wire_type} at byte 1")


def test_a_field_number_that_wraps_around_32_bits_is_refused() -> None:
    refused(tag(2**29 + 8, 2) + b"\x01a", "a tensor has a field 536870920")


def test_field_number_zero_is_refused() -> None:
    refused(b"\x00\x00", "a tensor has a field 0")


def test_numbers_of_more_than_64_bits_are_refused() -> None:
    assert read(number(1, 2**64 - 1)).integers("dims") == [-1]
    refused(number(1, 2**64), "damaged: a number of more than 64 bits")
    refused(tag(1, 0) + b"\xff" * 10 + b"\x01", "damaged: a number of more than 64 bits")
    refused(content(1, varint(2**69)), "damaged: a number of more than 64 bits")


@pytest.mark.parametrize("value", [2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 2**31 - 1])
def test_a_number_that_a_parser_cuts_to_32_bits_is_refused(value: int) -> None:
    assert TensorProto.FromString(number(2, value)).data_type != value
    refused(number(2, value), "data_type is -?[0-9]+, of more than 32 bits")


@pytest.mark.parametrize("value", [-1, -(2**31)])
def test_a_negative_number_is_read_as_protobuf_does(value: int) -> None:
    message = TensorProto(data_type=value, dims=[value]).SerializeToString()
    assert read(message).integer("data_type") == value
    assert read(message).integers("dims") == [value]


@pytest.mark.parametrize("value", [2, 99, 2**32, 2**32 + 1, 2**64 - 1])
def test_a_value_that_an_enumeration_lacks_is_refused(value: int) -> None:
    """A parser passes over it, or cuts it to one that there is."""
    assert TensorProto.FromString(number(14, value)).data_location in (0, 1)
    refused(number(14, value), "data_location is -?[0-9]+, which ONNX has not")


def test_negative_sizes_are_refused() -> None:
    sizes = Schema("a shape", {1: ("dims", Kind.SIZES)})
    for message in (number(1, 2**64 - 1), content(1, varint(3) + varint(2**63))):
        refused(message, "a shape's dims holds -[0-9]+; sizes are expected", sizes)
    assert read(content(1, varint(3)) + number(1, 2**63 - 1), sizes).integers("dims") == [
        3,
        2**63 - 1,
    ]


def test_two_fields_of_which_a_parser_keeps_the_last_are_refused() -> None:
    axis = Schema(
        "an axis",
        {1: ("dim_value", Kind.INTEGER), 2: ("dim_param", Kind.BYTES)},
        one_of=("dim_value", "dim_param"),
    )
    for message in (number(1, 7) + content(2, b"n"), content(2, b"n") + number(1, 7)):
        proto = TensorShapeProto.Dimension.FromString(message)
        assert not (proto.HasField("dim_value") and proto.HasField("dim_param"))
        refused(message, "an axis has both dim_value and dim_param", axis)


def test_a_list_of_no_numbers_is_not_there() -> None:
    assert "dims" not in read(content(1, b""))


@pytest.mark.parametrize("overlong", [b"\x90\x80\x80\x80\x80\x00", b"\x42\x80\x80\x80\x80\x80\x00"])
def test_tags_and_lengths_of_more_than_five_bytes_are_refused(overlong: bytes) -> None:
    with pytest.raises(DecodeError):
        TensorProto.FromString(overlong + b"\x05")
    refused(overlong + b"\x05", "damaged: a number of more than 35 bits")


@pytest.mark.parametrize("length", [2, 2**31, 2**32 + 1, 2**35 - 1])
def test_a_length_beyond_the_end_is_refused(length: int) -> None:
    refused(tag(8, 2) + varint(length) + b"a", f"it ends inside a field of {length} bytes")


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x08\xff", b"\x88", b"\x42", tag(1, 2) + b"\x01\x80"]
)
def test_a_number_that_is_cut_off_is_refused(message: bytes) -> None:
    refused(message, "it ends inside a number")


@pytest.mark.parametrize("wire_type", [1, 5])
def test_a_number_of_fixed_size_that_is_cut_off_is_refused(wire_type: int) -> None:
    refused(tag(2, wire_type) + bytes(3), "it ends inside a field of [48] bytes", ATTRIBUTE)


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ModelFileError, match="a tensor's name is not UTF-8"):
        read(content(8, b"\xff")).text("name")


def test_more_fields_than_a_graph_can_have_are_refused() -> None:
    """Two bytes of a file otherwise take two hundred of memory."""
    assert len(read(content(13, b"") * MAX_FIELDS).views("external_data")) == MAX_FIELDS
    refused(content(13, b"") * (MAX_FIELDS + 1), "more than 100000 fields")
    refused(content(1, bytes(MAX_FIELDS + 1)), "a list has more than 100000 numbers")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(message: bytes) -> None:
    try:
        ours = read(message)
        name = ours.text("name")
    except ModelFileError:
        return
    theirs = TensorProto.FromString(message)
    assert ours.integers("dims") == list(theirs.dims)
    assert name == theirs.name
    assert bytes(ours.view("raw_data")) == theirs.raw_data
    assert ours.integer("data_type") == theirs.data_type
    assert ours.integer("data_location") == theirs.data_location
    assert len(ours.views("external_data")) == len(theirs.external_data)


@given(st.data())
def test_a_message_cut_off_anywhere_is_read_as_protobuf_reads_it_or_refused(data: Any) -> None:
    tensor = TensorProto(dims=[3, 2**40], data_type=1, name="weight", data_location=1)
    tensor.external_data.add(key="location", value="model.onnx_data")
    whole = tensor.SerializeToString()
    part = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        ours = read(part)
    except ModelFileError:
        return
    theirs = TensorProto.FromString(part)
    assert ours.integers("dims") == list(theirs.dims)
    assert ours.text("name") == theirs.name
