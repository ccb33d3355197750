"""Directories of other exporters: untrusted, recognised by their graphs' inputs or refused."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime.model_files.directory import open_model_directory
from gptneo_onnx.runtime.model_files.foreign import ForeignGraphs, find_graphs
from gptneo_onnx.runtime.model_files.portable_check import check_portable_graph

OPTIMUM = Path(__file__).parents[2] / "golden/optimum/2.1-with-past"


@pytest.fixture
def directory(tmp_path):
    return Path(shutil.copytree(OPTIMUM, tmp_path / "model"))


@pytest.fixture
def graph(directory):
    return onnx.load(directory / "model.onnx")


def refused(directory, match, kind=ModelFileError, file_name=None):
    with pytest.raises(kind, match=match) as caught:
        open_model_directory(directory, file_name).verification.finish()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_it_is_opened(directory):
    model = open_model_directory(directory)
    assert model.manifest is None
    assert model.config.num_layers == 2
    assert model.graphs == (directory / "model.onnx",)


# Which graph.


def named(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.onnx", "model.onnx_data"], ["model.onnx"]),
        (["decoder_model_merged.onnx"], ["decoder_model_merged.onnx"]),
        (
            ["decoder_model.onnx", "decoder_with_past_model.onnx", "decoder_model_merged.onnx"],
            ["decoder_model_merged.onnx"],
        ),
        (
            ["decoder_model.onnx", "decoder_with_past_model.onnx"],
            ["decoder_model.onnx", "decoder_with_past_model.onnx"],
        ),
        (["decoder_model.onnx"], ["decoder_model.onnx"]),
        (["model_optimized.onnx"], ["model_optimized.onnx"]),
        (["onnx/model.onnx", "onnx/model_fp16.onnx"], ["onnx/model.onnx"]),
        (["onnx/model_q4.onnx"], ["onnx/model_q4.onnx"]),
        (
            ["onnx/decoder_model_merged.onnx", "onnx/decoder_model_merged_quantized.onnx"],
            ["onnx/decoder_model_merged.onnx"],
        ),
    ],
)
def test_the_graph_is_found_by_the_names_that_exporters_use(tmp_path, names, chosen):
    assert find_graphs(named(tmp_path, *names)) == ForeignGraphs(*chosen)


def test_a_directory_without_any_is_no_export(tmp_path):
    assert find_graphs(named(tmp_path, "config.json", "model.safetensors")) is None


@pytest.mark.parametrize(
    "names",
    [
        ["model.onnx", "model_quantized.onnx"],
        ["model.onnx", "other.onnx"],
        ["model.onnx", "decoder_model_merged.onnx"],
        ["model.onnx", "onnx/model.onnx"],
    ],
)
def test_two_models_in_one_folder_are_refused(tmp_path, names):
    with pytest.raises(ModelFileError, match="holds several graphs: .*say which with file_name"):
        find_graphs(named(tmp_path, *names))
    for name in names:
        assert find_graphs(tmp_path, name) == ForeignGraphs(name)


def test_several_types_without_a_plain_one_have_to_be_chosen_from(tmp_path):
    named(tmp_path, "onnx/model_q4.onnx", "onnx/model_fp16.onnx")
    with pytest.raises(ModelFileError, match=r"no onnx/model.onnx, but onnx/model_fp16.onnx, onnx"):
        find_graphs(tmp_path)


def test_half_of_a_model_is_refused(tmp_path):
    named(tmp_path, "decoder_with_past_model.onnx")
    with pytest.raises(ModelFileError, match=r"no decoder_model.onnx to begin with; fetch it"):
        find_graphs(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["nothing.onnx", "../model.onnx", "/etc/passwd", "onnx/../model.onnx", "config.json", ""],
)
def test_a_name_of_no_graph_is_refused_with_those_there_are(directory, name):
    (directory.parent / "model.onnx").touch()
    refused(directory, r"file_name is .*has model.onnx$", InputError, name)


def test_a_checkpoint_is_not_an_export(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, "is a checkpoint; export it first", InputError)


# Another model than the config's.


def change_config(directory, **values):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_another_architecture_is_refused(directory):
    change_config(directory, model_type="gpt2")
    refused(directory, "model_type is 'gpt2'; only 'gpt_neo' can be used")


def test_a_directory_without_config_is_refused(directory):
    (directory / "config.json").unlink()
    refused(directory, "config.json is missing")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (
            {
                "num_layers": 3,
                "attention_types": [[["global"], 3]],
                "attention_layers": ["global"] * 3,
            },
            r"no input past_key_values.2.key; a GPT-Neo of 3 layers has past_key_values.0.key to "
            r"past_key_values.2.value, and this one's inputs are \['input_ids'",
        ),
        (
            {
                "num_layers": 1,
                "attention_types": [[["global"], 1]],
                "attention_layers": ["global"],
            },
            r"unexpected input: 'past_key_values.1.key'",
        ),
        (
            {"num_heads": 1},
            r"makes past_key_values.0.key \['any', 1, 'any', 16\], the graph has \['batch_size', 2",
        ),
        ({"vocab_size": 50257}, r"makes logits \['any', 'any', 50257\], the graph has"),
    ],
)
def test_a_config_of_another_size_is_refused(directory, values, match):
    change_config(directory, **values)
    refused(directory, match)


def without(values, *names):
    others = [value for value in values if value.name not in names]
    del values[:]
    values.extend(others)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("past_key_values.1.value", "the graph has no input past_key_values.1.value; a GPT-Neo of"),
        ("attention_mask", r"the graph has no input attention_mask; its inputs are \["),
        ("input_ids", "the graph has no input input_ids"),
    ],
)
def test_a_missing_input_is_named(directory, graph, name, match):
    without(graph.graph.input, name)
    onnx.save(graph, directory / "model.onnx")
    refused(directory, match)


@pytest.mark.parametrize("name", ["present.0.key", "logits"])
def test_a_missing_output_is_named(directory, graph, name):
    without(graph.graph.output, name)
    onnx.save(graph, directory / "model.onnx")
    refused(directory, f"the graph has no output {name}")


def test_an_input_that_nobody_knows_is_named(directory, graph):
    graph.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1]))
    onnx.save(graph, directory / "model.onnx")
    refused(directory, "unexpected input: 'pixels'; a GPT-Neo's are input_ids, attention_mask")


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_name_given_twice_is_refused(directory, graph, kind):
    values = getattr(graph.graph, kind)
    values.append(values[0])
    (directory / "model.onnx").write_bytes(graph.SerializeToString())
    refused(directory, f"the graph has the {kind} '(input_ids|logits)' twice")


def test_ids_of_another_type_are_refused(directory, graph):
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32
    onnx.save(graph, directory / "model.onnx")
    refused(directory, "input input_ids has type 6 .*int64 with 2 of them is expected")


def test_bfloat16_is_refused(directory, graph):
    for value in (*graph.graph.input, *graph.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    onnx.save(graph, directory / "model.onnx")
    refused(directory, "float32 and float16 are run here")


# Files that are not what they should be.


@pytest.fixture
def external(directory, graph):
    """The weights in a file of their own, as for a large model."""
    (directory / "model.onnx").unlink()
    onnx.save(
        graph,
        directory / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )
    return directory


def test_weights_may_lie_in_a_file_of_their_own(external):
    model = open_model_directory(external)
    assert model.data_files == (external / "model.onnx_data",)


def test_half_a_data_file_is_refused(external):
    data = external / "model.onnx_data"
    os.truncate(data, data.stat().st_size // 2)
    refused(
        external,
        r"model.onnx_data has \d+ bytes, and '.*' ends at \d+: it is not all there; fetch it again",
    )


def test_a_missing_data_file_is_refused(external):
    (external / "model.onnx_data").unlink()
    refused(external, "^[^:]*model.onnx_data is missing; fetch or export the model again$")


def test_linked_data_files_are_refused(external, tmp_path):
    data = external / "model.onnx_data"
    os.link(data, tmp_path / "another")
    refused(external, f"has another hard link elsewhere; copy the file .*: cp -r {external} COPY$")
    subprocess.run(["cp", "-r", str(external), str(tmp_path / "COPY")], check=True)
    open_model_directory(tmp_path / "COPY")
    (tmp_path / "another").unlink()
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    refused(external, "links out of its directory")


def change_place(directory, **places):
    path = directory / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    entries = {entry.key: entry for entry in model.graph.initializer[0].external_data}
    for key, value in places.items():
        entries[key].value = value
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/b", ".hidden", "", "a\0b"])
def test_weights_elsewhere_are_refused(external, location):
    change_place(external, location=location)
    refused(external, "only files beside the graph are read")


@pytest.mark.parametrize(
    "places",
    [
        {"offset": "99999999999"},
        {"offset": "-1"},
        {"offset": "18446744073709551615"},
        {"length": "1"},
        {"length": "zero"},
    ],
)
def test_places_that_cannot_be_are_refused(external, places):
    change_place(external, **places)
    refused(external, "it is not all there|a size is expected|but .* bytes")


@pytest.mark.parametrize("key", ["location", "basepath"])
def test_a_place_of_unknown_or_repeated_entries_is_refused(external, key):
    path = external / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data.add(key=key, value="../x")
    path.write_bytes(model.SerializeToString())
    refused(external, "has the entries .*; checksum, length, location, offset, each once, are all")


def test_a_weight_whose_bytes_do_not_fit_its_shape_is_refused(directory, graph):
    weight = next(each for each in graph.graph.initializer if each.raw_data and len(each.dims) == 2)
    weight.dims[0] += 1
    (directory / "model.onnx").write_bytes(graph.SerializeToString())
    refused(directory, r"has shape \[\d+, \d+\], but \d+ bytes")


def constant_outside(graph):
    tensor = TensorProto(name="c", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    graph.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def loop(graph):
    body = helper.make_graph([], "body", [], [])
    graph.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))


def weights_in_a_branch(graph):
    tensor = TensorProto(name="c", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret")
    branch = helper.make_graph([], "branch", [], [], [tensor])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    graph.graph.node.append(node)


def graphs_in_graphs(graph):
    branch = helper.make_graph([], "branch", [], [])
    for _ in range(20):
        node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
        branch = helper.make_graph([node], "branch", [], [])
    graph.graph.node.append(node)


def foreign_operator(graph):
    graph.graph.node.append(helper.make_node("Anything", [], ["x"], domain="evil"))


def function(graph):
    nodes = [helper.make_node("Identity", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 18)]
    graph.functions.append(helper.make_function("f", "F", ["a"], ["b"], nodes, opsets))


def session_options(graph):
    graph.metadata_props.add(key="ort_config", value="{}")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (constant_outside, "the constant 'c' lies in another file"),
        (loop, "the operator 'Loop' holds a graph"),
        (weights_in_a_branch, "the constant 'c' lies in another file"),
        pytest.param(
            graphs_in_graphs, "graphs lie in graphs more than 8 deep", marks=pytest.mark.slow
        ),
        (foreign_operator, "the operator 'Anything' is of the domain 'evil'"),
        (function, "the model has a field 25"),
        (session_options, "the model brings options for the session"),
    ],
)
def test_what_could_do_harm_is_refused(directory, graph, change, match):
    change(graph)
    (directory / "model.onnx").write_bytes(graph.SerializeToString())
    refused(directory, match)


def test_what_other_exporters_leave_there_is_not(directory, graph):
    graph.metadata_props.add(key="author", value="somebody")
    graph.graph.initializer.append(numpy_helper.from_array(np.empty(0, np.float32), "nothing"))
    graph.graph.initializer.append(helper.make_tensor("typed", TensorProto.INT64, [3], [1, 2, 300]))
    graph.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(graph, directory / "model.onnx")
    assert open_model_directory(directory)


def test_weights_that_are_listed_as_inputs_are_none(directory, graph):
    weight = graph.graph.initializer[0]
    graph.graph.input.append(
        helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
    )
    onnx.save(graph, directory / "model.onnx")
    assert open_model_directory(directory)


def test_a_graph_that_is_cut_off_is_refused(directory, random):
    path = directory / "model.onnx"
    content = path.read_bytes()
    for length in [0, 1, 2, *random.integers(3, len(content), 200).tolist()]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            open_model_directory(directory)


def test_changed_bytes_raise_nothing_else(directory, random):
    path = directory / "model.onnx"
    config = GPTNeoConfig.from_file(directory / "config.json")
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(200):
        changed = content.copy()
        at = random.integers(0, len(content), 4)
        changed[at] ^= random.integers(1, 256, 4).astype(np.uint8)
        path.write_bytes(changed.tobytes())
        with contextlib.suppress(ModelFileError):
            check_portable_graph(path, config)
