"""Which files of a directory are read, in from_pretrained's order, and variants of them."""

import json

import pytest
from checkpoints import draw_tensors
from refusals import refused
from torch_archive import save_torch
from wild_weights import SMALL, save_flax, save_safetensors, write_directory

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.models import InputError, ModelFileError

WRITERS = {"safetensors": save_safetensors, "bin": save_torch, "msgpack": save_flax}


@pytest.fixture
def tensors(random):
    return draw_tensors(SMALL, random)


@pytest.fixture
def write(tmp_path):
    """Write files by name; each one's first number says which it is."""

    def write(tensors, *names):
        directory = tmp_path / "checkpoint"
        directory.mkdir()
        for number, name in enumerate(names):
            marked = dict(tensors)
            marked["transformer.ln_f.bias"] = marked["transformer.ln_f.bias"] * 0 + number
            shard = directory / name
            suffix = name.rpartition(".")[2]
            if suffix == "json":
                stem, suffix = name.split(".")[:2]
                shard = directory / f"{stem}-of-{number}.{suffix}"
                weight_map = dict.fromkeys(tensors, shard.name)
                (directory / name).write_text(json.dumps({"weight_map": weight_map}))
            save = WRITERS[suffix]
            write_directory(directory, save, shard.name, marked)
        return directory

    return write


def which(directory, variant=None):
    return int(open_checkpoint(directory, variant).tensors["ln_f.bias"].read()[0])


ORDER = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "flax_model.msgpack",
    "flax_model.msgpack.index.json",
]
VARIANTS = [
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
    "pytorch_model.fp16.bin",
    "pytorch_model.bin.index.fp16.json",
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_order_of_from_pretrained(write, tensors, first):
    assert which(write(tensors, *ORDER[first:])) == 0


@pytest.mark.parametrize("first", range(len(VARIANTS)))
def test_the_order_of_a_variants_files(write, tensors, first):
    directory = write(tensors, *VARIANTS[first:], *ORDER)
    assert which(directory, "fp16") == 0
    assert which(directory) == len(VARIANTS[first:])


@pytest.mark.parametrize("name", VARIANTS)
def test_only_a_variant(write, tensors, name, tmp_path):
    directory = write(tensors, name)
    match = r"holds no weights, but those of 'fp16': pass --variant fp16 \(variant='fp16'\)"
    with refused(ModelFileError, match):
        export_model(directory, tmp_path / "out")
    assert export_model(directory, tmp_path / "out", variant="fp16") == tmp_path / "out"


def test_a_variant_that_is_missing(write, tensors):
    directory = write(tensors, "model.safetensors")
    with refused(ModelFileError, "no weights of variant 'fp16', but those without a variant"):
        open_checkpoint(directory, "fp16")
    (directory / "model.safetensors").rename(directory / "model.bf16.safetensors")
    with refused(ModelFileError, "no weights of variant 'fp16', but those of 'bf16'"):
        open_checkpoint(directory, "fp16")


@pytest.mark.parametrize("variant", ["", "..", "a/b", "a.b", "x" * 65, 16, ["fp16"], b"fp16"])
def test_variants_that_no_file_has(write, tensors, variant, tmp_path):
    with refused(InputError, "variant is .*what stands between dots"):
        export_model(write(tensors, "model.safetensors"), tmp_path / "out", variant=variant)


def test_the_command_line_takes_a_variant(write, tensors, tmp_path):
    from gptneo_onnx.runtime.cli.main import main

    directory = write(tensors, "model.safetensors", "model.fp16.safetensors")
    main(["export", str(directory), str(tmp_path / "out"), "--variant", "fp16"])
    expected = export_model(directory, tmp_path / "expected", variant="fp16")
    for name in ("model.onnx", "model.onnx_data"):
        assert (tmp_path / "out" / name).read_bytes() == (expected / name).read_bytes()
