"""`gptneo-onnx info` tells the numbers of the config and the files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import Shape

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.cli.info import model_info

Export = Callable[..., Path]


def test_the_models_numbers_are_the_configs(export_shape: Export) -> None:
    shape = Shape(layers=("global", "local", "local"), window_size=9, max_position_embeddings=50)
    info = model_info(export_shape(shape))
    assert info["layers"] == 3
    assert info["local_layers"] == 2
    assert info["window"] == 9
    assert info["hidden_size"] == 32
    assert info["heads"] == 4
    assert info["vocabulary"] == 301
    assert info["context"] == 50


def test_the_files_are_those_of_the_directory(export_shape: Export) -> None:
    export = export_shape()
    sizes = {path.name: path.stat().st_size for path in export.iterdir()}
    del sizes["gptneo_onnx.json"]
    assert model_info(export)["files"] == sizes


def test_what_it_was_exported_as_is_told(export_shape: Export) -> None:
    info = model_info(export_shape(precision="fp16"))
    assert (info["graph"], info["precision"]) == ("fused", "fp16")
    assert (info["task"], "labels" in info) == ("text-generation-with-past", False)
    assert info["least_onnx_runtime"] == "1.30.0"


def test_layers_that_give_hidden_states_are_told(export_shape: Export) -> None:
    export = export_shape(graph=("fused", "portable"), hidden_states=[0])
    assert model_info(export)["hidden_states"] == [0, 2]
    assert model_info(export, "portable.onnx")["hidden_states"] == [0]


@pytest.mark.parametrize(("precision", "item_size"), [("fp32", 4), ("fp16", 2), ("bf16", 2)])
def test_the_cache_of_a_sequence_is_counted(
    export_shape: Export, precision: str, item_size: int
) -> None:
    """Keys and values: 64 rows in the global layer, a window of 7 in the local one."""
    info = model_info(export_shape(precision=precision))
    assert info["cache_bytes_per_sequence"] == 2 * (64 + 7) * 32 * item_size


@pytest.mark.parametrize("window", [7, 1000])
def test_the_cache_is_as_large_as_the_runtimes(export_shape: Export, window: int) -> None:
    export = export_shape(Shape(window_size=window))
    model = GPTNeoForCausalLM.from_pretrained(export, slots=3)
    assert model_info(export)["cache_bytes_per_sequence"] * 3 == model.engine.cache_bytes


def test_it_can_be_written_as_json(export_shape: Export) -> None:
    info = model_info(export_shape())
    assert json.loads(json.dumps(info)) == info


def test_a_damaged_model_is_refused(export_shape: Export) -> None:
    export = export_shape()
    content = bytearray((export / "model.onnx_data").read_bytes())
    content[-1] ^= 1
    (export / "model.onnx_data").write_bytes(content)
    with pytest.raises(ModelFileError, match="was changed since the export"):
        model_info(export)


def test_two_precisions(export_shape: Export) -> None:
    export = export_shape(Shape(), "fp32,int4", graph="fused,portable")
    info = model_info(export)
    assert info["precision"] == "fp32"
    assert info["graphs"] == {
        "model.onnx": "fused, fp32",
        "portable.onnx": "portable, fp32",
        "model.int4.onnx": "fused, int4",
        "portable.int4.onnx": "portable, int4",
    }
    for name in ("model.int4.onnx", "portable.int4.onnx"):
        assert model_info(export, name)["precision"] == "int4"
    assert info["files"]["model.int4.onnx_data"] == (export / "model.int4.onnx_data").stat().st_size
    content = bytearray((export / "model.int4.onnx_data").read_bytes())
    content[-1] ^= 1
    (export / "model.int4.onnx_data").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model.int4.onnx_data was changed since the export"):
        model_info(export)


def test_a_checkpoint_is_refused(export_shape: Export, tmp_path: Path) -> None:
    export_shape()
    with pytest.raises(InputError, match="is a checkpoint; export it first"):
        model_info(tmp_path / "checkpoint")
