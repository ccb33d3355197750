"""An export in several precisions: each is as it is alone, and what is alike is stored once."""

import itertools
import os
import shutil

import onnx
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import check_export, export_model
from gptneo_onnx.export.weights import weights_file
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, ExportError, Precision
from gptneo_onnx.models.manifest import Manifest

PAIRS = ["fp32,int4", "w8a8,int4", "fp32,int8,int4", "fp16,bf16"]
TEXT = "It is a truth universally acknowledged, that a single man must be in want of a wife. " * 900


def weights_of(graph):
    """The type, shape and bytes of every weight of a graph by name."""
    model = onnx.load(graph)  # with external data
    return {
        tensor.name: (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
        for tensor in model.graph.initializer
    }


def places_of(graph):
    """The file and offset of every external weight of a graph by name."""
    model = onnx.load(graph, load_external_data=False)
    places = {}
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if place:
            places[tensor.name] = place["location"], int(place["offset"]), int(place["length"])
    return places


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_checkpoint(tmp_path / "checkpoint", Shape(tie_word_embeddings=False), random)


@pytest.mark.parametrize("precision", PAIRS)
def test_each_graph_is_that_of_a_single_export(tmp_path, checkpoint, precision):
    kinds = ["fused", "portable"]
    together = export_model(checkpoint, tmp_path / "together", precision=precision, graph=kinds)
    for index, name in enumerate(precision.split(",")):
        alone = export_model(checkpoint, tmp_path / name, precision=name, graph=kinds)
        for graph in ("model", "portable"):
            mine = f"{graph}.onnx" if index == 0 else f"{graph}.{name}.onnx"
            assert weights_of(together / mine) == weights_of(alone / f"{graph}.onnx")
            nodes = [onnx.load(path, load_external_data=False).graph.node for path in (
                together / mine, alone / f"{graph}.onnx"
            )]  # fmt: skip
            assert nodes[0] == nodes[1]
        if index == 0:  # whoever has the first has a whole single export
            for file in ("model.onnx", "portable.onnx", "model.onnx_data"):
                assert (together / file).read_bytes() == (alone / file).read_bytes()


@pytest.mark.parametrize("precision", PAIRS)
def test_no_bytes_are_stored_twice(tmp_path, precision):
    out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", precision=precision)
    stored = {}
    for graph in out.glob("*.onnx"):
        contents, places = weights_of(graph), places_of(graph)
        for name, place in places.items():
            stored.setdefault(contents[name][2], set()).add(place)
    assert all(len(places) == 1 for places in stored.values())


@pytest.mark.parametrize(
    ("precision", "shared", "own"),
    [
        ("fp32,int4", {"wpe.weight", "h.0.ln_1.weight", "h.1.mlp.c_fc.bias"}, {"wte.weight"}),
        ("w8a8,int4", {"wpe.weight", "wte.weight", "ln_f.bias"}, {"h.0.mlp.c_fc.weight"}),
        ("fp32,fp16", set(), {"wpe.weight", "wte.weight"}),
    ],
)
def test_what_the_second_reads_in_the_firsts_file(tmp_path, precision, shared, own):
    out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", precision=precision)
    second = precision.split(",")[1]
    files = {name: file for name, (file, *_) in places_of(out / f"model.{second}.onnx").items()}
    assert all(files[name] == "model.onnx_data" for name in shared)
    assert all(files[name] == f"model.{second}.onnx_data" for name in own)


def test_the_manifest_names_every_graph(tmp_path, checkpoint):
    out = export_model(
        checkpoint, tmp_path / "out", precision=["fp32", Precision.INT4], graph="fused,portable"
    )
    manifest = Manifest.read(out)
    graphs = {name: (each.kind, each.numbers.precision) for name, each in manifest.graphs.items()}
    assert graphs == {
        "model.onnx": ("fused", Precision.FP32),
        "portable.onnx": ("portable", Precision.FP32),
        "model.int4.onnx": ("fused", Precision.INT4),
        "portable.int4.onnx": ("portable", Precision.INT4),
    }
    assert manifest.weights_files == ("model.onnx_data", "model.int4.onnx_data")
    assert set(manifest.files) == {path.name for path in out.iterdir()} - {"gptneo_onnx.json"}


def test_the_names_of_precisions_are_the_same_as_a_list(tmp_path, checkpoint):
    named = export_model(checkpoint, tmp_path / "named", precision="fp32,int4")
    listed = export_model(checkpoint, tmp_path / "listed", precision=("fp32", "int4"))
    for path in named.iterdir():
        assert path.read_bytes() == (listed / path.name).read_bytes()


def test_full_range_is_for_w8a8_among_others(tmp_path, checkpoint):
    out = export_model(checkpoint, tmp_path / "out", precision="w8a8,int4", full_range=True)
    first, second = (entry.numbers for entry in Manifest.read(out).graphs.values())
    assert not first.reduce_range
    assert second.precision is Precision.INT4


@pytest.mark.slow
def test_a_text_calibrates_what_is_rounded_and_nothing_else(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    calibrated = {"calibrate": tmp_path / "text.txt"}
    pair = export_model(EMBEDDED_CHECKPOINT, tmp_path / "pair", precision="fp32,int4", **calibrated)
    first = export_model(EMBEDDED_CHECKPOINT, tmp_path / "first")
    second = export_model(EMBEDDED_CHECKPOINT, tmp_path / "second", precision="int4", **calibrated)
    assert weights_of(pair / "model.onnx") == weights_of(first / "model.onnx")
    assert weights_of(pair / "model.int4.onnx") == weights_of(second / "model.onnx")
    report = check_export(EMBEDDED_CHECKPOINT, precision="fp32,int4", **calibrated)
    assert report.files == {path.name: path.stat().st_size for path in pair.iterdir()}


def test_an_export_that_fails_in_its_second_precision_leaves_nothing(
    tmp_path, checkpoint, monkeypatch
):
    out = export_model(checkpoint, tmp_path / "out" / "model")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    files = itertools.count(1)
    original = weights_file.write_weights

    def full_disk(*arguments):
        if next(files) == 2:
            raise OSError(28, os.strerror(28))
        original(*arguments)

    monkeypatch.setattr("gptneo_onnx.export.graph_files.write_weights", full_disk)
    with pytest.raises(ExportError, match="the disk is full"):
        export_model(checkpoint, out, precision="fp32,int4")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_it_replaces_a_single_export_and_is_replaced_by_one(tmp_path, checkpoint):
    out = export_model(checkpoint, tmp_path / "out")
    single = {path.name: path.read_bytes() for path in out.iterdir()}
    export_model(checkpoint, out, precision="fp32,int4")
    assert (out / "model.int4.onnx").is_file()
    export_model(checkpoint, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == single


def test_files_of_transformers_js_share_nothing(tmp_path, checkpoint):
    """It loads one file of weights for each graph."""
    names = ["int8", "int4"]
    out = export_model(checkpoint, tmp_path / "out", layout="transformers.js", precision=names)
    for graph in (out / "onnx").glob("*.onnx"):
        assert {file for file, *_ in places_of(graph).values()} == {f"{graph.name}_data"}
    shutil.rmtree(out)
