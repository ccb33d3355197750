"""Padded heads: where zeros go, and which weights graphs of several kinds share."""

import json

import numpy as np
import onnx
import pytest
from checkpoints import Shape, write_checkpoint
from onnx import numpy_helper
from wild_heads import HEADS

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.export.graphs.head_padding import model_columns, padded, padded_tensor
from gptneo_onnx.models import GPTNeoConfig

CONFIG = GPTNeoConfig.from_dict(Shape(hidden_size=6, num_heads=2).config)


def initializers(directory, name="model.onnx"):
    graph = onnx.load(directory / name).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_zeros_follow_each_heads_rows_or_columns():
    values = np.arange(1, 7, dtype=np.float32)
    expected = [1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0]
    assert padded(values, CONFIG, 8, axis=0).tolist() == expected
    both = np.stack([values, -values])
    assert padded(both, CONFIG, 8, axis=1).tolist() == [expected, [-x for x in expected]]
    assert np.array(expected)[model_columns(CONFIG, 8)].tolist() == values.tolist()


def test_heads_that_need_none_are_left_as_they_are():
    values = np.arange(6)
    assert padded(values, CONFIG, 3, axis=0) is values


def test_tensors_are_padded_when_they_are_read(tmp_path, random):
    shape = Shape(hidden_size=6, num_heads=2)
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "drawn", shape, random))
    weight = checkpoint.tensors["h.0.attn.attention.q_proj.weight"]
    assert padded_tensor(weight, CONFIG, 3, axis=0) is weight
    for axis, wanted in ((0, (16, 6)), (1, (6, 16))):
        tensor = padded_tensor(weight, CONFIG, 8, axis)
        assert tensor.shape == wanted == tensor.read().shape
        assert (np.concatenate([*tensor.row_blocks()]) == tensor.read()).all()
        kept = tensor.read().take(model_columns(CONFIG, 8), axis)
        assert (kept == weight.read()).all()
        assert np.count_nonzero(tensor.read()) == np.count_nonzero(weight.read())


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_fused_and_genai_graphs_share_padded_weights(tmp_path, random, name, precision):
    """Portable ones read others, the same as if they were alone; all else is stored once."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", HEADS[name], random)
    kinds = {"model.onnx": "fused", "portable.onnx": "portable", "genai.onnx": "genai"}
    options = {"precision": precision}
    out = export_model(checkpoint, tmp_path / "all", graph=[*kinds.values()], **options)
    found = {file: initializers(out, file) for file in kinds}
    for file, kind in kinds.items():
        alone = initializers(export_model(checkpoint, tmp_path / kind, graph=kind, **options))
        assert found[file].keys() == alone.keys()
        assert all((found[file][each] == alone[each]).all() for each in alone)
    named = {
        file: {each for each in arrays if "qkv_proj" in each or "out_proj.weight" in each}
        for file, arrays in found.items()
    }
    assert named["model.onnx"] == named["genai.onnx"]
    assert all(".padded." in each for each in named["model.onnx"])
    assert not any(".padded." in each for each in named["portable.onnx"])


def test_heads_of_8_have_one_weight_for_all_graphs(export_shape):
    out = export_shape(graph=("fused", "portable", "genai"))
    fused, portable = initializers(out), initializers(out, "portable.onnx")
    assert not any("padded" in name for name in {*fused, *portable})
    assert "h.0.attn.attention.qkv_proj.weight" in fused.keys() & portable.keys()


@pytest.mark.parametrize(("name", "size"), [("of 4", 8), ("of 5", 8), ("of 20", 24), ("of 12", 16)])
def test_genai_is_told_the_padded_size(export_shape, name, size):
    out = export_shape(HEADS[name], graph="genai")
    decoder = json.loads((out / "genai_config.json").read_text())["model"]["decoder"]
    assert decoder["head_size"] == size
    assert decoder["num_attention_heads"] == HEADS[name].num_heads
    assert decoder["hidden_size"] == HEADS[name].hidden_size
