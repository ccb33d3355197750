"""The check of a fused graph, attacked through everything that ONNX Runtime's parser would see."""

import math
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkpoints import Shape, write_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, TensorProto, helper

from gptneo_onnx.export import export_model
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.graph import (
    DataType,
    GraphContract,
    NumberFormat,
    Precision,
    fused_contract,
)
from gptneo_onnx.runtime.model_files.fused_check import MAX_GRAPH_BYTES, check_fused_graph

WEIGHTS = "model.onnx_data"


class Graph:
    """A real exported graph, and a folder in which changed ones are checked."""

    def __init__(self, export: Path, folder: Path) -> None:
        self.config = GPTNeoConfig.from_file(export / "config.json")
        self.contract = fused_contract(self.config, NumberFormat.of(Precision.FP32))
        self.content = (export / "model.onnx").read_bytes()
        self.folder = folder
        shutil.copyfile(export / WEIGHTS, folder / WEIGHTS)

    @property
    def model(self) -> ModelProto:
        """A copy to change."""
        return ModelProto.FromString(self.content)

    @property
    def weights_size(self) -> int:
        return (self.folder / WEIGHTS).stat().st_size

    def check(self, graph: ModelProto | bytes, contract: GraphContract | None = None) -> None:
        content = graph if isinstance(graph, bytes) else graph.SerializeToString()
        (self.folder / "model.onnx").write_bytes(content)
        check_fused_graph(self.folder / "model.onnx", contract or self.contract, self.config)

    def refuses(self, graph: ModelProto | bytes, match: str) -> None:
        with pytest.raises(ModelFileError, match=match) as caught:
            self.check(graph)
        message = str(caught.value)
        assert message.startswith(f"{self.folder / 'model.onnx'}: ")
        assert message.endswith("; export the checkpoint again")
        assert "\n" not in message
        assert len(message) < 600

    def accepts(self, content: bytes) -> bool:
        """Return whether the check passes; any error but ModelFileError fails the test."""
        try:
            self.check(content)
        except ModelFileError:
            return False
        return True


@pytest.fixture(scope="module")
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    random = np.random.default_rng(7)
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("checkpoint"), Shape(), random)
    export = export_model(checkpoint, tmp_path_factory.mktemp("graph") / "export")
    return Graph(export, tmp_path_factory.mktemp("checked"))


def entry(tensor: TensorProto, key: str) -> Any:
    return next(entry for entry in tensor.external_data if entry.key == key)


def with_place(graph: Graph, **changes: str) -> ModelProto:
    """Return the model with another place for its first weight."""
    model = graph.model
    for key, value in changes.items():
        entry(model.graph.initializer[0], key).value = value
    return model


def with_attribute(graph: Graph, **attribute: Any) -> ModelProto:
    model = graph.model
    model.graph.node[0].attribute.add(name="a", **attribute)
    return model


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def with_weight_bytes(graph: Graph, change: Callable[[bytes], bytes]) -> bytes:
    """Return the model with one more weight, in bytes that no serializer would write."""
    tensor = graph.model.graph.initializer[0]
    tensor.name = "another"
    body = graph.model.graph.SerializeToString() + field(5, change(tensor.SerializeToString()))
    return with_graph_bytes(graph, body)


def with_graph_bytes(graph: Graph, body: bytes) -> bytes:
    model = graph.model
    model.ClearField("graph")
    return model.SerializeToString() + field(7, body)


def external_tensor(location: str = "../x", name: str = "evil") -> TensorProto:
    tensor = TensorProto(name=name, data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def inline_tensor(**changes: Any) -> TensorProto:
    fields = {"name": "constant", "data_type": 1, "dims": [2], "raw_data": bytes(8)}
    return TensorProto(**(fields | changes))


def test_a_graph_that_we_wrote_is_accepted(graph: Graph) -> None:
    graph.check(graph.content)
    graph.check(graph.model)


@pytest.mark.parametrize("precision", [precision.value for precision in Precision])
def test_graphs_of_every_precision_are_accepted(
    export_shape: Callable[..., Path], precision: str
) -> None:
    shape = Shape(layers=("local", "global", "local"), tie_word_embeddings=False)
    export = export_shape(shape, precision=precision)
    config = GPTNeoConfig.from_dict(shape.config)
    check_fused_graph(
        export / "model.onnx",
        fused_contract(config, NumberFormat.of(Precision(precision))),
        config,
    )


# The file as a whole.


def test_a_graph_that_is_too_large_is_refused_unread(graph: Graph) -> None:
    path = graph.folder / "model.onnx"
    with path.open("wb") as file:
        file.truncate(MAX_GRAPH_BYTES + 1)
    with pytest.raises(ModelFileError, match="has 16777217 bytes, at most 16777216 are read"):
        check_fused_graph(path, graph.contract, graph.config)


def test_an_empty_file_is_refused(graph: Graph) -> None:
    graph.refuses(b"", "the version of the standard operators is missing")


def test_a_model_without_a_graph_is_refused(graph: Graph) -> None:
    model = graph.model
    model.ClearField("graph")
    graph.refuses(model, "the model has no graph")


def test_two_graphs_are_refused_which_protobuf_would_merge(graph: Graph) -> None:
    extra = GraphProto(initializer=[external_tensor()])
    merged = graph.content + field(7, extra.SerializeToString())
    assert ModelProto.FromString(merged).graph.initializer[-1].name == "evil"
    graph.refuses(merged, "the model has its graph twice")


def test_a_hidden_second_graph_of_another_wire_type_is_refused(graph: Graph) -> None:
    graph.refuses(graph.content + varint(7 << 3 | 1) + bytes(8), "graph has wire type 1")


def test_functions_are_refused(graph: Graph) -> None:
    model = graph.model
    model.functions.add(name="f", domain="com.microsoft")
    graph.refuses(model, "the model has a field 25")


def test_training_steps_are_refused(graph: Graph) -> None:
    model = graph.model
    model.training_info.add().initialization.initializer.append(external_tensor())
    graph.refuses(model, "the model has a field 20")


def test_metadata_is_refused_where_onnx_runtime_may_read_options(graph: Graph) -> None:
    model = graph.model
    model.metadata_props.add(key="ort_config", value='{"session_options": {}}')
    graph.refuses(model, "the model has a field 14")


@pytest.mark.parametrize("number", [9, 13, 26, 99, 1000])
def test_fields_that_are_not_onnxs_are_refused(graph: Graph, number: int) -> None:
    graph.refuses(graph.content + field(number, b""), f"the model has a field {number}")


# Operators.


@pytest.mark.parametrize(
    "domain", ["ai.onnx.ml", "ai.onnx", "evil", "com.microsoft.nchwc", "x" * 999]
)
def test_a_foreign_domain_is_refused(graph: Graph, domain: str) -> None:
    model = graph.model
    model.opset_import.add(domain=domain, version=1)
    graph.refuses(model, "operators of '.* version 1 are not ours")


@pytest.mark.parametrize("version", [0, 1, 17, 22, 26, 999, -1, 2**63 - 1])
def test_an_opset_that_we_do_not_write_is_refused(graph: Graph, version: int) -> None:
    model = graph.model
    model.opset_import[0].version = version
    graph.refuses(model, r"operators of 'ai\.onnx' version \d+ are not ours")


def test_another_version_of_microsofts_operators_is_refused(graph: Graph) -> None:
    model = graph.model
    model.opset_import[1].version = 2
    graph.refuses(model, "operators of 'com.microsoft' version 2 are not ours")


def test_a_domain_imported_twice_is_refused(graph: Graph) -> None:
    model = graph.model
    model.opset_import.add(domain="", version=18)
    graph.refuses(model, "operators of 'ai.onnx' version 18 are not ours")


def test_operators_of_a_domain_that_is_not_imported_are_refused(graph: Graph) -> None:
    model = graph.model
    del model.opset_import[1]
    graph.refuses(model, "an operator of the domain 'com.microsoft' is not ours")


def test_the_standard_operators_must_be_imported(graph: Graph) -> None:
    model = graph.model
    del model.opset_import[0]
    graph.refuses(model, "the version of the standard operators is missing")


@pytest.mark.parametrize(
    "domain", ["ai.onnx.ml", "ai.onnx", "evil", "COM.MICROSOFT", "com.microsoft\0"]
)
def test_an_operator_of_a_foreign_domain_is_refused(graph: Graph, domain: str) -> None:
    model = graph.model
    model.graph.node[3].domain = domain
    graph.refuses(model, "an operator of the domain '.*' is not ours")


def test_an_operator_that_may_be_a_function_is_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.node[0].overload = "f"
    graph.refuses(model, "an operator has a field 8")


def test_a_constant_that_carries_a_tensor_is_refused(graph: Graph) -> None:
    model = graph.model
    node = helper.make_node("Constant", [], ["c"], value=inline_tensor())
    model.graph.node.append(node)
    graph.refuses(model, "attribute has a field 5")


def test_external_data_in_an_operator_is_refused(graph: Graph) -> None:
    graph.refuses(with_attribute(graph, t=external_tensor()), "attribute has a field 5")
    graph.refuses(with_attribute(graph, tensors=[external_tensor()]), "attribute has a field 10")


def test_sparse_tensors_in_an_operator_are_refused(graph: Graph) -> None:
    sparse = onnx.SparseTensorProto(values=external_tensor())
    graph.refuses(with_attribute(graph, sparse_tensor=sparse), "attribute has a field 22")
    graph.refuses(with_attribute(graph, sparse_tensors=[sparse]), "attribute has a field 23")


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan"])
def test_subgraphs_are_refused(graph: Graph, operator: str) -> None:
    model = graph.model
    body = helper.make_graph([], "body", [], [], [external_tensor()])
    model.graph.node.append(helper.make_node(operator, ["input_ids"], ["x"], body=body))
    graph.refuses(model, "attribute has a field 6")
    graph.refuses(with_attribute(graph, graphs=[body]), "attribute has a field 11")


def test_attributes_of_a_function_are_refused(graph: Graph) -> None:
    graph.refuses(with_attribute(graph, ref_attr_name="x"), "attribute has a field 21")


def test_declared_types_of_what_is_between_operators_are_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.value_info.add(name="embeddings")
    graph.refuses(model, "the graph has a field 13")


# Weights: where they lie.


@pytest.mark.parametrize(
    "location",
    [
        "../x",
        "/etc/passwd",
        "config.json",
        "model.onnx",
        "./model.onnx_data",
        "sub/../model.onnx_data",
        "model.onnx_data/",
        "model.onnx_data\0",
        "model.onnx_data\0.txt",
        "MODEL.ONNX_DATA",
        " model.onnx_data",
        "",
        "*/_ORT_MEM_ADDR_/*",  # ONNX Runtime reads an address in memory there
        "x" * 100_000,
        "a\nb",
    ],
)
def test_a_weight_anywhere_but_in_the_weights_file_is_refused(graph: Graph, location: str) -> None:
    graph.refuses(with_place(graph, location=location), "lies in '.*; only model.onnx_data is read")


def test_a_location_that_is_no_text_is_refused(graph: Graph) -> None:
    place = field(13, field(1, b"location") + field(2, b"\xff\xfe"))
    content = with_weight_bytes(graph, lambda _: field(8, b"evil") + place)
    graph.refuses(content, "evil' has a type or shape")
    content = with_weight_bytes(graph, lambda body: without_places(body) + place)
    graph.refuses(content, "UTF-8")


def without_places(body: bytes) -> bytes:
    tensor = TensorProto.FromString(body)
    tensor.ClearField("external_data")
    return tensor.SerializeToString()


@pytest.mark.parametrize(
    "offset",
    ["-1", "", "1e3", "0x10", "+1", " 1", "1_0", "1.0", "\u0661", "x" * 999, "9" * 21],
)
def test_an_offset_that_is_no_size_is_refused(graph: Graph, offset: str) -> None:
    graph.refuses(with_place(graph, offset=offset), "the offset of .* is '.*a size is expected")


@pytest.mark.parametrize("length", ["-1", "-38528", "", "0x10", "+1", "9" * 5000])
def test_a_length_that_is_no_size_is_refused(graph: Graph, length: str) -> None:
    graph.refuses(with_place(graph, length=length), "the length of .* is '.*a size is expected")


@pytest.mark.parametrize("offset", [2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 1])
def test_an_offset_beyond_the_file_is_refused_however_large(graph: Graph, offset: int) -> None:
    graph.refuses(
        with_place(graph, offset=str(offset)),
        rf"ends at byte \d+ of {WEIGHTS}, which has {graph.weights_size}",
    )


def test_a_weight_that_ends_one_byte_after_the_file_is_refused(graph: Graph) -> None:
    length = int(entry(graph.model.graph.initializer[0], "length").value)
    last = graph.weights_size - length
    graph.check(with_place(graph, offset=str(last)))
    graph.refuses(with_place(graph, offset=str(last + 1)), "ends at byte")


@pytest.mark.parametrize("length", [0, 1, 38527, 38529, 2**63, 2**64 - 1, 2**64 + 38528])
def test_a_length_that_is_not_the_shapes_is_refused(graph: Graph, length: int) -> None:
    model = with_place(graph, length=str(length))
    graph.refuses(model, r"has shape \[301, 32\], but \d+ bytes|ends at byte")


@pytest.mark.parametrize(
    "dims",
    [
        [],
        [301],
        [301, 33],
        [-301, -32],
        [-1, 32],
        [2**62, 4],  # 2^64 elements: none in 64 bits
        [2**63 - 1, 2**63 - 1],
        [2**32 + 301, 32],
        [301, 32, 2**63 - 1],
    ],
)
def test_a_shape_that_does_not_fill_the_length_is_refused(graph: Graph, dims: list[int]) -> None:
    model = graph.model
    model.graph.initializer[0].dims[:] = dims
    graph.refuses(model, "has shape .*, but 38528 bytes")


@pytest.mark.parametrize("dims", [[0], [301, 0, 32], [1] * 9, [1] * 1000])
def test_a_shape_that_no_weight_has_is_refused(graph: Graph, dims: list[int]) -> None:
    model = graph.model
    model.graph.initializer[0].dims[:] = dims
    graph.refuses(model, "has a type or shape that no weight has")


@pytest.mark.parametrize("data_type", [0, 4, 8, 9, 11, 23, 99, -1, 2**31 - 1])
def test_an_element_type_that_we_do_not_write_is_refused(graph: Graph, data_type: int) -> None:
    model = graph.model
    model.graph.initializer[0].data_type = data_type
    graph.refuses(model, "has a type or shape that no weight has")


def test_an_element_type_of_another_size_is_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.initializer[0].data_type = DataType.FLOAT16.onnx
    graph.refuses(model, r"has shape \[301, 32\], but 38528 bytes")


# Weights: what two parsers could see differently.


@pytest.mark.parametrize("key", ["location", "offset", "length"])
@pytest.mark.parametrize("first", [True, False])
def test_an_entry_given_twice_is_refused(graph: Graph, key: str, first: bool) -> None:
    """Refused whichever of the two a parser would take."""
    model = graph.model
    tensor = model.graph.initializer[0]
    evil = onnx.StringStringEntryProto(key=key, value="../x" if key == "location" else "7")
    entries = list(tensor.external_data)
    tensor.ClearField("external_data")
    tensor.external_data.extend([evil, *entries] if first else [*entries, evil])
    graph.refuses(model, "each once, are allowed")


@pytest.mark.parametrize(
    "key", ["checksum", "prepacked_0", "Location", "location\0", "", "basepath"]
)
def test_an_entry_that_we_do_not_write_is_refused(graph: Graph, key: str) -> None:
    model = graph.model
    model.graph.initializer[0].external_data.add(key=key, value="../x")
    graph.refuses(model, "length, location, offset, each once, are allowed")


@pytest.mark.parametrize("key", ["location", "offset", "length"])
def test_an_entry_that_is_missing_is_refused(graph: Graph, key: str) -> None:
    model = graph.model
    tensor = model.graph.initializer[0]
    tensor.external_data.remove(entry(tensor, key))
    graph.refuses(model, "has the entries .*; length, location, offset, each once, are allowed")


@pytest.mark.parametrize("number", [1, 2])
def test_a_key_or_value_given_twice_is_refused(graph: Graph, number: int) -> None:
    place = field(1, b"location") + field(2, WEIGHTS.encode()) + field(number, b"../x")
    content = with_weight_bytes(graph, lambda body: body + field(13, place))
    graph.refuses(content, "a weight's place has its (key|value) twice")


def test_a_key_of_another_wire_type_is_refused(graph: Graph) -> None:
    """Eight bytes that spell `location` to us, and are nothing to protobuf."""
    place = varint(1 << 3 | 1) + b"location" + field(2, WEIGHTS.encode())
    content = with_weight_bytes(graph, lambda body: body + field(13, place))
    assert ModelProto.FromString(content).graph.initializer[-1].external_data[-1].key == ""
    graph.refuses(content, "a weight's place's key has wire type 1")


def test_the_place_given_twice_is_refused(graph: Graph) -> None:
    for value in (b"\x00", b"\x01"):
        content = with_weight_bytes(graph, lambda body, v=value: body + varint(14 << 3) + v)
        graph.refuses(content, "a weight has its data_location twice")


@pytest.mark.parametrize("location", [2, 3, 2**31, 2**32, 2**32 + 1, 2**63])
def test_a_place_that_is_neither_inside_nor_outside_is_refused(graph: Graph, location: int) -> None:
    def elsewhere(body: bytes) -> bytes:
        tensor = TensorProto.FromString(body)
        tensor.ClearField("data_location")
        return tensor.SerializeToString() + varint(14 << 3) + varint(location)

    graph.refuses(with_weight_bytes(graph, elsewhere), "another' does not lie in one place")


def test_a_name_type_or_shape_given_twice_is_refused(graph: Graph) -> None:
    for more, name in ((field(8, b"x"), "name"), (varint(2 << 3) + b"\x01", "data_type")):
        content = with_weight_bytes(graph, lambda body, m=more: body + m)
        graph.refuses(content, f"a weight has its {name} twice")


def test_dims_count_together_packed_and_unpacked(graph: Graph) -> None:
    more = field(1, varint(1) + varint(2)) + varint(1 << 3) + varint(1)
    content = with_weight_bytes(graph, lambda body: body + more)
    assert ModelProto.FromString(content).graph.initializer[-1].dims == [301, 32, 1, 2, 1]
    graph.refuses(content, r"has shape \[301, 32, 1, 2, 1\], but 38528 bytes")
    content = with_weight_bytes(graph, lambda body: body + field(1, varint(1)))
    graph.check(content)


def test_a_type_beyond_32_bits_is_refused(graph: Graph) -> None:
    """Protobuf cuts it to float32."""

    def wide(body: bytes) -> bytes:
        tensor = TensorProto.FromString(body)
        tensor.ClearField("data_type")
        return tensor.SerializeToString() + varint(2 << 3) + varint(2**32 + 1)

    graph.refuses(with_weight_bytes(graph, wide), "has a type or shape that no weight has")


def test_segments_are_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.initializer[0].segment.begin = 1
    graph.refuses(model, "a weight has a field 3")


@pytest.mark.parametrize(
    "data",
    [
        {"float_data": [1.0]},
        {"int32_data": [1]},
        {"string_data": [b"x"]},
        {"int64_data": [1]},
        {"double_data": [1.0]},
        {"uint64_data": [1]},
    ],
)
def test_numbers_in_other_fields_are_refused(graph: Graph, data: dict[str, Any]) -> None:
    model = graph.model
    model.graph.initializer.append(TensorProto(name="x", data_type=1, dims=[1], **data))
    graph.refuses(model, "a weight has a field")


def test_a_weight_both_inside_and_outside_is_refused(graph: Graph) -> None:
    for location in (TensorProto.DEFAULT, TensorProto.EXTERNAL):
        model = graph.model
        tensor = model.graph.initializer[0]
        tensor.raw_data = bytes(38528)
        tensor.data_location = location
        graph.refuses(model, "wte.weight' does not lie in one place")


def test_a_weight_nowhere_is_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.initializer.add(name="x", data_type=1, dims=[1])
    graph.refuses(model, "x' does not lie in one place")


def test_a_weight_that_says_it_lies_elsewhere_is_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.initializer[0].ClearField("data_location")
    graph.refuses(model, "says that it lies elsewhere than it does")
    model = graph.model
    model.graph.initializer.append(inline_tensor(data_location=TensorProto.EXTERNAL))
    graph.refuses(model, "says that it lies elsewhere than it does")


def test_a_small_weight_may_lie_in_the_graph(graph: Graph) -> None:
    model = graph.model
    model.graph.initializer.append(inline_tensor())
    model.graph.initializer.append(inline_tensor(name="scalar", dims=[], raw_data=bytes(4)))
    graph.check(model)


@pytest.mark.parametrize("dims", [[3], [2, 2], [2**62 + 2], [-2], []])
def test_a_weight_in_the_graph_must_have_its_shapes_bytes(graph: Graph, dims: list[int]) -> None:
    model = graph.model
    model.graph.initializer.append(inline_tensor(dims=dims))
    graph.refuses(model, "constant' has shape .*, but 8 bytes")


def test_two_weights_of_one_name_are_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.initializer.append(model.graph.initializer[0])
    graph.refuses(model, "there are two weights 'wte.weight'")


def test_sparse_weights_are_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.sparse_initializer.add(values=external_tensor())
    graph.refuses(model, "the graph has a field 15")


def test_weights_are_refused_where_there_is_no_weights_file(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(graph.content)
    with pytest.raises(ModelFileError, match=rf"ends at byte \d+ of {WEIGHTS}, which has 0"):
        check_fused_graph(tmp_path / "model.onnx", graph.contract, graph.config)


# Inputs and outputs.


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_missing_value_is_refused(graph: Graph, kind: str) -> None:
    model = graph.model
    del getattr(model.graph, kind)[0]
    graph.refuses(model, f"config.json makes the {kind} (input_ids|logits) .*, the graph has None")


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_value_of_another_name_is_refused(graph: Graph, kind: str) -> None:
    model = graph.model
    getattr(model.graph, kind)[1].name = "other"
    graph.refuses(model, "the graph has None")


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_value_of_another_type_is_refused(graph: Graph, kind: str) -> None:
    model = graph.model
    getattr(model.graph, kind)[-1].type.tensor_type.elem_type = DataType.FLOAT16.onnx
    graph.refuses(model, rf"{kind} \S+1.value float32 \['batch', 4, 7, 8\], the graph has \(10, ")


@pytest.mark.parametrize("kind", ["input", "output"])
def test_an_unexpected_value_is_refused(graph: Graph, kind: str) -> None:
    model = graph.model
    value = helper.make_tensor_value_info("x" * 999, 1, ["batch"])
    getattr(model.graph, kind).append(value)
    graph.refuses(model, f"the graph has an unexpected {kind}: 'xxx")


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_value_given_twice_is_refused(graph: Graph, kind: str) -> None:
    model = graph.model
    values = getattr(model.graph, kind)
    values.append(values[0])
    graph.refuses(model, f"the graph has the {kind} '(input_ids|logits)' twice")


@pytest.mark.parametrize("size", [0, 6, 8, -1, 2**32 + 7])
def test_a_cache_of_another_size_is_refused(graph: Graph, size: int) -> None:
    model = graph.model
    model.graph.input[-1].type.tensor_type.shape.dim[2].dim_value = size
    graph.refuses(model, r"past_key_values.1.value float32 \['batch', 4, 7, 8\], the graph has")


def test_an_axis_of_another_name_is_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "sequence"
    graph.refuses(model, r"input_ids int64 \['batch', 'sequence'\], the graph has")


def test_an_axis_without_a_size_is_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    graph.refuses(model, "an axis has no size, or two")


def test_an_axis_with_two_sizes_is_refused(graph: Graph) -> None:
    model = graph.model
    value = model.graph.input[-1]
    sizes = [field(2, b"batch"), varint(1 << 3) + b"\x04", varint(1 << 3) + b"\x07"]
    sizes += [varint(1 << 3) + b"\x08" + field(2, b"x")]
    shape = field(2, b"".join(field(1, size) for size in sizes))
    value_type = field(2, field(1, varint(1 << 3) + b"\x01" + shape))
    del model.graph.input[-1]
    body = model.graph.SerializeToString() + field(11, field(1, value.name.encode()) + value_type)
    graph.refuses(with_graph_bytes(graph, body), "an axis has no size, or two")


def test_a_value_of_unknown_rank_is_no_scalar(graph: Graph) -> None:
    model = graph.model
    assert model.graph.input[3].name == "total_sequence_length"
    model.graph.input[3].type.tensor_type.ClearField("shape")
    graph.refuses(model, "'total_sequence_length' has no shape")


@pytest.mark.parametrize("kind", ["sequence_type", "optional_type", "sparse_tensor_type"])
def test_a_value_that_is_no_tensor_is_refused(graph: Graph, kind: str) -> None:
    model = graph.model
    getattr(model.graph.input[0].type, kind).SetInParent()
    graph.refuses(model, "type has a field")


def test_a_value_without_a_type_is_refused(graph: Graph) -> None:
    model = graph.model
    model.graph.input[0].ClearField("type")
    graph.refuses(model, "'input_ids' has no shape")


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 64},
        {"num_heads": 2},
        {"vocab_size": 302},
        {"window_size": 8},
        {"layers": ("global", "global")},
        {"layers": ("global", "local", "local")},
        {"layers": ("global",)},
    ],
)
def test_a_graph_of_another_config_is_refused(graph: Graph, change: dict[str, Any]) -> None:
    config = GPTNeoConfig.from_dict(Shape().but(**change).config)
    with pytest.raises(ModelFileError, match="config.json makes|unexpected"):
        graph.check(graph.content, fused_contract(config, NumberFormat.of(Precision.FP32)))


def test_a_graph_of_another_precision_is_refused(graph: Graph) -> None:
    config = GPTNeoConfig.from_dict(Shape().config)
    with pytest.raises(ModelFileError, match="makes the weight wte.weight float16"):
        graph.check(graph.content, fused_contract(config, NumberFormat.of(Precision.FP16)))


@pytest.mark.parametrize(
    ("change", "table"),
    [({"max_position_embeddings": 65}, "wpe.weight"), ({"vocab_size": 302}, "wte.weight")],
)
def test_a_config_that_promises_more_rows_than_a_table_has_is_refused(
    graph: Graph, change: dict[str, int], table: str
) -> None:
    config = GPTNeoConfig.from_dict(Shape().but(**change).config)
    with pytest.raises(ModelFileError, match=f"config.json makes the weight {table} float32"):
        graph.check(graph.content, fused_contract(config, NumberFormat.of(Precision.FP32)))


# Damage: refused, or harmless to a real parser as well.


def assert_harmless(graph: Graph, content: bytes) -> None:
    """Assert that a real parser sees nothing in an accepted graph that had to be refused."""
    model = ModelProto.FromString(content)
    signatures = {
        value.name: (value.type.tensor_type.elem_type, axes(value))
        for value in [*model.graph.input, *model.graph.output]
    }
    assert signatures == {
        spec.name: (spec.data_type.onnx, spec.axes)
        for spec in graph.contract.inputs + graph.contract.outputs
    }
    assert not model.graph.sparse_initializer
    assert not model.functions
    assert not model.training_info
    for node in model.graph.node:
        assert node.domain in ("", "com.microsoft")
        for attribute in node.attribute:
            assert not attribute.HasField("t")
            assert not attribute.HasField("g")
            assert not attribute.tensors
            assert not attribute.graphs
    for tensor in model.graph.initializer:
        assert_in_bounds(tensor, graph.weights_size)


def axes(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param
        for dim in value.type.tensor_type.shape.dim
    )


def assert_in_bounds(tensor: TensorProto, weights_size: int) -> None:
    item_size = {kind.onnx: kind.itemsize for kind in DataType if kind.bits >= 8}[tensor.data_type]
    length = math.prod(tensor.dims) * item_size
    if tensor.data_location == TensorProto.DEFAULT:
        assert len(tensor.raw_data) == length
        assert not tensor.external_data
        return
    place = {entry.key: entry.value for entry in tensor.external_data}
    assert place["location"] == WEIGHTS
    assert int(place["length"]) == length
    assert 0 <= int(place["offset"]) <= weights_size - length


@settings(max_examples=300)
@given(st.data())
def test_a_graph_with_flipped_bits_is_refused_or_harmless(graph: Graph, data: Any) -> None:
    content = bytearray(graph.content)
    positions = st.integers(0, len(content) - 1)
    for position in data.draw(st.lists(positions, min_size=1, max_size=3, unique=True)):
        content[position] ^= data.draw(st.integers(1, 255))
    if graph.accepts(bytes(content)):
        assert_harmless(graph, bytes(content))


@settings(max_examples=300)
@given(st.data())
def test_a_graph_with_bytes_put_in_or_cut_out_is_refused_or_harmless(
    graph: Graph, data: Any
) -> None:
    start = data.draw(st.integers(0, len(graph.content)))
    end = data.draw(st.integers(start, min(start + 20, len(graph.content))))
    middle = data.draw(st.binary(max_size=20))
    content = graph.content[:start] + middle + graph.content[end:]
    if graph.accepts(content):
        assert_harmless(graph, content)


@settings(max_examples=300)
@given(st.data())
def test_a_weight_of_any_fields_is_refused_or_harmless(graph: Graph, data: Any) -> None:
    """Well-formed, so that the outer layers let it pass."""
    small = st.integers(0, 20) | st.integers(0, 2**64 - 1)
    texts = st.sampled_from([b"location", b"offset", b"length", b"0", b"4", WEIGHTS.encode()])
    entries = st.lists(st.tuples(st.integers(1, 2), texts), max_size=3).map(
        lambda parts: b"".join(field(number, text) for number, text in parts)
    )
    weight = data.draw(
        st.lists(
            st.tuples(st.sampled_from([1, 2, 14]), small).map(
                lambda part: varint(part[0] << 3) + varint(part[1])
            )
            | st.tuples(st.sampled_from([1, 8, 9, 13]), entries | st.binary(max_size=8)).map(
                lambda part: field(*part)
            ),
            max_size=9,
        )
    )
    body = graph.model.graph.SerializeToString() + field(5, b"".join(weight))
    content = with_graph_bytes(graph, body)
    if graph.accepts(content):
        assert_harmless(graph, content)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(graph: Graph, content: bytes) -> None:
    assert not graph.accepts(content)


@pytest.mark.slow
def test_a_file_cut_off_at_any_byte_is_refused(graph: Graph) -> None:
    for length in range(len(graph.content)):
        assert not graph.accepts(graph.content[:length]), length


def test_a_graph_cut_off_between_any_two_of_its_parts_is_refused(graph: Graph) -> None:
    body = graph.model.graph.SerializeToString()
    starts = [match.start() for match in re.finditer(b"[\x0a\x2a\x5a\x62]", body)]
    for start in starts[:: max(1, len(starts) // 100)]:
        assert not graph.accepts(with_graph_bytes(graph, body[:start])), start


@pytest.mark.parametrize("part", ["node", "initializer", "input", "output"])
def test_a_part_cut_off_at_any_byte_is_refused_or_harmless(graph: Graph, part: str) -> None:
    model = graph.model
    number = {"node": 1, "initializer": 5, "input": 11, "output": 12}[part]
    whole = getattr(model.graph, part)[-1].SerializeToString()
    del getattr(model.graph, part)[-1]
    rest = model.graph.SerializeToString()
    for length in range(len(whole)):
        content = with_graph_bytes(graph, rest + field(number, whole[:length]))
        if graph.accepts(content):
            assert_harmless(graph, content)


def test_a_graph_of_a_great_many_empty_parts_takes_little_memory(graph: Graph) -> None:
    body = b"\x0a\x00" * 2**20  # nodes
    tracemalloc.start()
    try:
        graph.refuses(with_graph_bytes(graph, body), "more than 100000 fields")
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()
