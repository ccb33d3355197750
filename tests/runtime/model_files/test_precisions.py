"""A directory of several precisions: each graph is checked with the files that it reads."""

import json
from pathlib import Path

import pytest
from checkpoints import Shape

from gptneo_onnx.models import InputError, ModelFileError
from gptneo_onnx.models.manifest import MANIFEST_FILE
from gptneo_onnx.runtime.model_files.directory import open_model_directory
from gptneo_onnx.runtime.model_files.precisions import graph_in_precision, smallest_other


@pytest.fixture
def pair(export_shape) -> Path:
    return export_shape(Shape(), "fp32,int4", graph="fused,portable")


def change_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def open_fully(directory: Path, file_name: str) -> None:
    open_model_directory(directory, file_name).verification.finish()


def test_a_graph_is_found_by_its_kind_and_precision(pair):
    assert graph_in_precision(pair, "fp32") == "model.onnx"
    assert graph_in_precision(pair, "int4") == "model.int4.onnx"
    assert graph_in_precision(pair, "int4", "portable.onnx") == "portable.int4.onnx"
    assert graph_in_precision(pair, "fp32", "portable.int4.onnx") == "portable.onnx"


def test_the_smallest_precision(export_shape):
    out = export_shape(Shape(), "fp32,int8,int4,w8a8")
    assert smallest_other(out) == "int4"
    assert smallest_other(out, "model.int8.onnx") == "int4"
    with pytest.raises(InputError, match="none smaller than int4"):
        smallest_other(out, "model.int4.onnx")


@pytest.mark.parametrize("graph", ["model", "portable"])
def test_a_graph_reads_its_own_file_and_what_it_shares(pair, graph):
    first = open_model_directory(pair, f"{graph}.onnx")
    second = open_model_directory(pair, f"{graph}.int4.onnx")
    assert [*first.verification.files] == ["model.onnx_data"]
    assert {*second.verification.files} == {"model.onnx_data", "model.int4.onnx_data"}
    first.verification.finish()
    second.verification.finish()


@pytest.mark.parametrize("graph", ["model", "portable"])
def test_a_changed_file_is_refused_by_those_who_read_it(pair, graph):
    change_one_byte(pair / "model.int4.onnx_data")
    open_fully(pair, f"{graph}.onnx")
    with pytest.raises(ModelFileError, match="model.int4.onnx_data was changed since the export"):
        open_fully(pair, f"{graph}.int4.onnx")


@pytest.mark.parametrize("name", ["model.onnx", "model.int4.onnx", "portable.int4.onnx"])
def test_a_changed_graph_is_refused_by_all(pair, name):
    change_one_byte(pair / name)
    for graph in ("model.onnx", "model.int4.onnx"):
        with pytest.raises(ModelFileError, match=f"{name} was changed since the export"):
            open_fully(pair, graph)


@pytest.mark.parametrize("name", ["model.int4.onnx_data", "model.int4.onnx"])
def test_a_missing_file_is_named(pair, name):
    (pair / name).unlink()
    with pytest.raises(ModelFileError, match=f"{name} is missing; fetch or export"):
        open_fully(pair, "model.onnx")


def test_a_manifest_that_leaves_out_the_weights_of_a_precision_is_refused(pair):
    values = json.loads((pair / MANIFEST_FILE).read_text())
    del values["files"]["model.int4.onnx_data"]
    (pair / MANIFEST_FILE).write_text(json.dumps(values))
    with pytest.raises(ModelFileError, match="does not list model.int4.onnx_data"):
        open_fully(pair, "model.onnx")


def test_a_graph_that_is_not_there_is_named_with_those_that_are(pair):
    there = r"model.onnx \(fused, fp32\), portable.onnx \(portable, fp32\), model.int4.onnx \(fused"
    with pytest.raises(InputError, match=f"file_name is 'model.int8.onnx'; .* has {there}"):
        open_model_directory(pair, "model.int8.onnx")
    with pytest.raises(InputError, match="file_name is 'other.onnx'; .* has model.onnx, portable"):
        graph_in_precision(pair, "int4", "other.onnx")


def test_a_graph_may_read_no_file_but_those_of_weights(export_shape):
    """The manifest of a single precision lists no other, whatever the graph says."""
    out = export_shape(Shape(), "fp32,int4")
    values = json.loads((out / MANIFEST_FILE).read_text())
    del values["other_precisions"]
    values |= {key: {"precision": "int4"}.get(key, values[key]) for key in ("precision",)}
    values["files"]["model.onnx"] = values["files"].pop("model.int4.onnx")
    values["files"].pop("model.int4.onnx_data")
    (out / "model.int4.onnx").replace(out / "model.onnx")
    (out / "model.int4.onnx_data").replace(out / ".hidden")
    (out / MANIFEST_FILE).write_text(json.dumps(values))
    with pytest.raises(ModelFileError, match=r"lies in 'model.int4.onnx_data'; only model.onnx_da"):
        open_fully(out, "model.onnx")
