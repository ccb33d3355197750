"""What is not read is recognised, and the one line says what to do."""

import json

import numpy as np
import pytest
from checkpoints import draw_tensors
from refusals import refused
from torch_archive import save_torch
from wild_weights import SMALL, save_safetensors, write_directory

from gptneo_onnx.export import export_model
from gptneo_onnx.models import ModelFileError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 5312753599\n"
ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "EleutherAI/gpt-neo-125m"})


@pytest.fixture
def tensors(random):
    return draw_tensors(SMALL, random)


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(SMALL.config))
    return directory


def refuses(directory, match):
    with refused(ModelFileError, match):
        export_model(directory, directory.with_name("out"))
    assert not directory.with_name("out").exists()


@pytest.mark.parametrize(
    "file_name", ["model.safetensors", "pytorch_model.bin", "flax_model.msgpack"]
)
@pytest.mark.parametrize(
    ("content", "match"),
    [
        (POINTER, "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
        (b"GGUF\x03\0\0\0", "is a GGUF file: export the Hugging Face checkpoint"),
        (b"<!DOCTYPE html><html>", "is a web page: download the file itself"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file of TensorFlow"),
    ],
)
def test_contents_of_another_format(directory, file_name, content, match):
    (directory / file_name).write_bytes(content)
    refuses(directory, f"{file_name} {match}")


def test_a_shard_that_is_a_pointer(directory):
    index = {"weight_map": {"transformer.wte.weight": "one.bin"}}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (directory / "one.bin").write_bytes(POINTER)
    refuses(directory, "one.bin is a Git LFS pointer")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["model-q4.gguf"], "holds GGUF files only; export the Hugging Face checkpoint"),
        (["tf_model.h5"], r"holds TensorFlow's tf_model\.h5 only"),
        (["checkpoint", "model.ckpt-9.index"], "mesh-tensorflow .*load_tf_weights_in_gpt_neo"),
        (["zero_to_fp32.py", "latest"], r"ZeRO shards; run its zero_to_fp32\.py"),
        (["adapter_config.json"], "only a PEFT adapter .*gptneo-onnx export .* --adapter "),
    ],
)
def test_directories_of_another_format(directory, names, match):
    for name in names:
        (directory / name).write_text(ADAPTER)
    refuses(directory, match)


def test_an_adapter_without_a_config(directory):
    (directory / "config.json").unlink()
    (directory / "adapter_config.json").write_text(ADAPTER)
    command = "gptneo-onnx export EleutherAI/gpt-neo-125m OUT --adapter /"
    refuses(directory, f"only a PEFT adapter .of 'EleutherAI/gpt-neo-125m'.*: {command}")


@pytest.mark.parametrize("base", [None, "", 7, "two\nlines", "x" * 300])
def test_an_adapter_of_a_base_without_a_usable_name(directory, base):
    (directory / "config.json").unlink()
    (directory / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    refuses(directory, "only a PEFT adapter .*: gptneo-onnx export BASE OUT --adapter /")


def test_an_adapter_beside_weights_is_named(directory, tensors):
    save_safetensors(directory / "model.safetensors", tensors)
    (directory / "adapter_config.json").write_text(ADAPTER)
    lines = []
    export_model(directory, directory.with_name("out"), report=lines.append)
    assert "the adapter of adapter_config.json is not applied" in lines[0]
    assert "--adapter" in lines[0]


@pytest.mark.parametrize("save", [save_safetensors, save_torch])
def test_shapes_of_zero_3(tmp_path, tensors, save):
    name = {save_safetensors: "model.safetensors", save_torch: "pytorch_model.bin"}[save]
    empty = dict.fromkeys(tensors, np.empty(0, np.float32))
    empty = {name: array.copy() for name, array in empty.items()}
    directory = write_directory(tmp_path / "checkpoint", save, name, empty)
    refuses(directory, r"shape \[0\].*ZeRO-3.*run the zero_to_fp32\.py")


@pytest.mark.parametrize("save", [save_safetensors, save_torch])
@pytest.mark.parametrize(
    ("suffix", "dtype", "match"),
    [
        ("weight.absmax", np.uint8, "bitsandbytes, 4 bits"),
        ("SCB", np.float32, "bitsandbytes, 8 bits"),
        ("g_idx", np.uint8, "GPTQ"),
        ("qweight", np.int64, "GPTQ or AWQ"),
    ],
)
def test_quantized_weights(tmp_path, tensors, save, suffix, dtype, match):
    name = {save_safetensors: "model.safetensors", save_torch: "pytorch_model.bin"}[save]
    tensors[f"transformer.h.0.mlp.c_fc.{suffix}"] = np.ones(4, dtype)
    directory = write_directory(tmp_path / "checkpoint", save, name, tensors)
    refuses(directory, rf"are quantized \({match}: .*export the float checkpoint")


def test_gptqs_words_of_32_bits_are_recognised_first(tmp_path, tensors):
    tensors["transformer.h.0.mlp.c_fc.qweight"] = np.ones((8, 8), np.int32)
    name = "model.safetensors"
    directory = write_directory(tmp_path / "checkpoint", save_safetensors, name, tensors)
    refuses(directory, "quantized .GPTQ or AWQ")


def test_eight_bits_alone(tmp_path, tensors):
    tensors["transformer.h.0.mlp.c_fc.weight"] = np.ones((64, 16), np.int8)
    name = "model.safetensors"
    directory = write_directory(tmp_path / "checkpoint", save_safetensors, name, tensors)
    refuses(directory, "c_fc.weight holds int8 numbers: the checkpoint is quantized")


def test_a_quantization_config_over_float_weights_is_named(directory, tensors):
    save_safetensors(directory / "model.safetensors", tensors)
    quantization = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    config = SMALL.config | {"quantization_config": quantization}
    (directory / "config.json").write_text(json.dumps(config))
    lines = []
    export_model(directory, directory.with_name("out"), report=lines.append)
    assert "quantization_config of config.json ('bitsandbytes') is not applied" in lines[0]
