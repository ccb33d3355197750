"""Checkpoints in every published form, and those whose files contradict each other."""

import json
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from checkpoints import Shape, draw_tensors
from refusals import refused
from safetensors.numpy import save_file
from torch_archive import save_torch

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.models import ModelFileError

SHAPE = Shape(vocab_size=61, hidden_size=16, num_heads=2, max_position_embeddings=16)
CONTEXT = SHAPE.max_position_embeddings


def save_safetensors(path, tensors):
    save_file(tensors, path, {"format": "pt"})


def whole(file_name, save):
    def write(directory, tensors):
        save(directory / file_name, tensors)

    return write


def sharded(file_name, save):
    stem, suffix = file_name.split(".")

    def write(directory, tensors):
        weight_map = {}
        names = list(tensors)
        for number, start in enumerate(range(0, len(names), 10), 1):
            shard = f"{stem}-{number:05}-of-00004.{suffix}"
            part = {name: tensors[name] for name in names[start : start + 10]}
            save(directory / shard, part)
            weight_map |= dict.fromkeys(part, shard)
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        (directory / f"{file_name}.index.json").write_text(json.dumps(index))

    return write


LAYOUTS = {
    "safetensors": whole("model.safetensors", save_safetensors),
    "sharded safetensors": sharded("model.safetensors", save_safetensors),
    "bin": whole("pytorch_model.bin", save_torch),
    "sharded bin": sharded("pytorch_model.bin", save_torch),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture
def tensors(random):
    return draw_tensors(SHAPE, random)


@pytest.fixture
def checkpoint(tmp_path):
    """Write tensors in a layout, with the config beside them."""

    def write(tensors, layout="safetensors", **config):
        directory = tmp_path / f"checkpoint{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(SHAPE.config | config))
        LAYOUTS[layout](directory, tensors)
        return directory

    return write


def exported(checkpoint: Path) -> dict[str, bytes]:
    """Export the checkpoint; return the bytes of the graph and of its weights."""
    out = export_model(checkpoint, checkpoint.with_name(f"{checkpoint.name}.out"))
    return {name: (out / name).read_bytes() for name in ("model.onnx", "model.onnx_data")}


def without_prefix(tensors):
    return {name.removeprefix("transformer."): array for name, array in tensors.items()}


def mask_buffers(dtype):
    """The buffers that transformers before 4.20 saved with every layer."""
    mask = np.tril(np.ones((CONTEXT, CONTEXT), dtype))[None, None]
    buffers = {}
    for layer in range(len(SHAPE.layers)):
        attention = f"transformer.h.{layer}.attn.attention"
        buffers[f"{attention}.bias"] = mask.copy()
        buffers[f"{attention}.masked_bias"] = np.array(-1e9, np.float32)
    return buffers


class TestForms:
    @every_layout
    def test_every_layout_gives_the_same_export(self, checkpoint, tensors, layout):
        assert exported(checkpoint(tensors, layout)) == exported(checkpoint(tensors))

    @every_layout
    def test_names_may_lack_their_prefix(self, checkpoint, tensors, layout):
        bare = without_prefix(tensors)
        assert exported(checkpoint(bare, layout)) == exported(checkpoint(tensors))

    @every_layout
    @pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
    def test_mask_buffers_of_old_files_are_passed_over(self, checkpoint, tensors, layout, dtype):
        old = tensors | mask_buffers(dtype)
        assert exported(checkpoint(old, layout)) == exported(checkpoint(tensors))

    @every_layout
    def test_a_tied_head_that_is_stored_too_is_passed_over(self, checkpoint, tensors, layout):
        head = tensors["transformer.wte.weight"]
        stored_twice = tensors | {"lm_head.weight": head}
        assert exported(checkpoint(stored_twice, layout)) == exported(checkpoint(tensors))

    @every_layout
    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
    def test_half_precision_is_widened_exactly(self, checkpoint, tensors, layout, dtype):
        halves = {name: array.astype(dtype) for name, array in tensors.items()}
        widened = {name: array.astype(np.float32) for name, array in halves.items()}
        assert exported(checkpoint(halves, layout)) == exported(checkpoint(widened))

    @every_layout
    def test_double_precision_is_rounded(self, checkpoint, tensors, layout):
        doubles = {name: array.astype(np.float64) for name, array in tensors.items()}
        assert exported(checkpoint(doubles, layout)) == exported(checkpoint(tensors))

    @every_layout
    def test_an_untied_head_is_exported(self, checkpoint, random, layout):
        untied = draw_tensors(SHAPE.but(tie_word_embeddings=False), random)
        directory = checkpoint(untied, layout, tie_word_embeddings=False)
        exported(directory)
        graph = onnx.load(directory.with_name(f"{directory.name}.out") / "model.onnx").graph
        weights = {weight.name: weight for weight in graph.initializer}
        head = onnx.numpy_helper.to_array(weights["lm_head.weight"])
        assert np.array_equal(head, untied["lm_head.weight"])

    def test_safetensors_are_preferred(self, checkpoint, tensors):
        directory = checkpoint(tensors)
        (directory / "pytorch_model.bin").write_bytes(b"damaged")
        assert exported(directory) == exported(checkpoint(tensors))

    def test_files_may_be_symlinks_as_in_the_hubs_cache(self, checkpoint, tensors, tmp_path):
        directory = checkpoint(tensors)
        blob = tmp_path / "blob"
        (directory / "model.safetensors").rename(blob)
        (directory / "model.safetensors").symlink_to(blob)
        assert exported(directory) == exported(checkpoint(tensors))

    @pytest.mark.parametrize("layout", ["safetensors", "bin"])
    def test_an_inner_size_that_the_config_leaves_out(self, checkpoint, tensors, layout):
        config = dict.fromkeys(("intermediate_size", "pad_token_id"))
        assert exported(checkpoint(tensors, layout, **config)) == exported(checkpoint(tensors))


class TestContradictions:
    def test_no_config(self, checkpoint, tensors):
        directory = checkpoint(tensors)
        (directory / "config.json").unlink()
        with refused(ModelFileError, r"config\.json is missing"):
            export_model(directory, directory.with_name("out"))
        assert not directory.with_name("out").exists()

    def test_no_weights(self, checkpoint, tensors):
        directory = checkpoint(tensors)
        (directory / "model.safetensors").unlink()
        with refused(ModelFileError, "holds no weights: fetch model.safetensors or pytorch_model"):
            open_checkpoint(directory)

    def test_another_architecture(self, checkpoint, tensors):
        with refused(ModelFileError, "model_type is 'gpt2'; only 'gpt_neo' can be used"):
            open_checkpoint(checkpoint(tensors, model_type="gpt2"))

    @every_layout
    @pytest.mark.parametrize(
        "name", ["wte.weight", "ln_f.bias", "h.1.attn.attention.v_proj.weight"]
    )
    def test_a_missing_tensor(self, checkpoint, tensors, layout, name):
        del tensors[f"transformer.{name}"]
        directory = checkpoint(tensors, layout)
        with refused(ModelFileError, f"has no tensor {name}, .*fetch the checkpoint again"):
            export_model(directory, directory.with_name("out"))
        assert not directory.with_name("out").exists()

    def test_an_untied_head_that_is_missing(self, checkpoint, tensors):
        directory = checkpoint(tensors, tie_word_embeddings=False)
        with refused(
            ModelFileError, r"no lm_head\.weight, and tie_word_embeddings .* set it to true"
        ):
            export_model(directory, directory.with_name("out"))

    @every_layout
    def test_a_tensor_of_another_shape(self, checkpoint, tensors, layout):
        name = "transformer.h.0.mlp.c_fc.weight"
        tensors[name] = np.ascontiguousarray(tensors[name].T)
        directory = checkpoint(tensors, layout)
        with refused(ModelFileError, r"c_fc.weight has shape \[16, 64\], .* makes it \[64, 16\]"):
            export_model(directory, directory.with_name("out"))

    @every_layout
    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
    def test_whole_numbers_for_weights(self, checkpoint, tensors, layout, dtype):
        name = "transformer.h.0.mlp.c_fc.weight"
        tensors[name] = np.ones_like(tensors[name], dtype)
        directory = checkpoint(tensors, layout)
        with refused(ModelFileError, f"c_fc.weight holds {np.dtype(dtype).name} .* quantized"):
            export_model(directory, directory.with_name("out"))

    def test_more_layers_than_the_config_has(self, checkpoint, tensors):
        config = {"num_layers": 1, "attention_types": [[["global"], 1]]}
        source = open_checkpoint(checkpoint(tensors, **config))
        assert not any(name.startswith("h.1.") for name in source.tensors)
        [note] = source.notes
        assert note.endswith(
            "left out, as config.json says that there are 1 layers: layer 1 (counted from 0)"
        )

    def test_fewer_layers_than_the_config_has(self, checkpoint, tensors):
        config = {"num_layers": 3, "attention_types": [[["global"], 3]]}
        directory = checkpoint(tensors, **config)
        with refused(ModelFileError, r"no tensor h\.2\.ln_1\.weight"):
            export_model(directory, directory.with_name("out"))

    def test_weights_that_vanish_while_they_are_read(self, checkpoint, tensors):
        opened = open_checkpoint(checkpoint(tensors))
        (opened.directory / "model.safetensors").unlink()
        with refused(ModelFileError, "wte.weight cannot be read: No such file"):
            opened.tensors["wte.weight"].read()

    def test_weights_that_are_cut_while_they_are_read(self, checkpoint, tensors):
        opened = open_checkpoint(checkpoint(tensors))
        weights = opened.directory / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:200])
        with refused(ModelFileError, "ends .* bytes too early: it is truncated; fetch it again"):
            opened.tensors["wte.weight"].read()


@pytest.mark.parametrize("layout", ["sharded safetensors", "sharded bin"])
class TestShards:
    @pytest.fixture
    def directory(self, checkpoint, tensors, layout):
        return checkpoint(tensors, layout)

    @pytest.fixture
    def index(self, directory):
        (path,) = directory.glob("*.index.json")
        return path

    def test_a_missing_shard(self, directory):
        shard = min(path for path in directory.iterdir() if "-00002-" in path.name)
        shard.unlink()
        with refused(ModelFileError, f"names '{shard.name}', which is missing; fetch it"):
            open_checkpoint(directory)

    def test_a_damaged_shard(self, directory):
        shard = min(path for path in directory.iterdir() if "-00002-" in path.name)
        shard.write_bytes(shard.read_bytes()[:-100])
        with refused(ModelFileError, shard.name):
            open_checkpoint(directory)

    @pytest.mark.parametrize("prefix", ["../elsewhere/", "./", "/", "..\\", "\n", "\x1b[31m", "\0"])
    def test_names_with_more_than_a_name_in_them(self, directory, index, prefix):
        shutil.copytree(directory, directory.with_name("elsewhere"))
        content = json.loads(index.read_text())
        content["weight_map"] = {
            name: prefix + shard for name, shard in content["weight_map"].items()
        }
        index.write_text(json.dumps(content))
        with refused(ModelFileError, "is not a plain name of a file beside it"):
            open_checkpoint(directory)

    @pytest.mark.parametrize("name", ["", ".", "..", "x" * 256, "é" * 200, "x" * 1_000_000])
    def test_names_that_no_file_can_have(self, directory, index, name):
        index.write_text(json.dumps({"weight_map": {"wte.weight": name}}))
        with refused(ModelFileError, "is not a plain name of a file beside it"):
            open_checkpoint(directory)

    @pytest.mark.parametrize("weight_map", [None, [], "model", 1, {"wte.weight": 1}, {"a": None}])
    def test_a_weight_map_of_another_type(self, directory, index, weight_map):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with refused(ModelFileError, "weight_map must map tensor names to file names"):
            open_checkpoint(directory)

    def test_more_shards_than_any_model_has(self, directory, index):
        weight_map = {str(number): f"{number}.bin" for number in range(1025)}
        index.write_text(json.dumps({"weight_map": weight_map}))
        with refused(ModelFileError, "names 1025 files; at most 1024 are read"):
            open_checkpoint(directory)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
    def test_an_index_that_is_no_json_object(self, directory, index, content):
        index.write_bytes(content)
        with refused(ModelFileError, r"index\.json"):
            open_checkpoint(directory)
