"""Names of tensors as tools that wrap a model leave them, and tensors that are no GPT-Neo's."""

import numpy as np
import pytest
from checkpoints import draw_tensors
from refusals import refused
from torch_archive import dumps, save_torch, state_dict, tensor, write_archive
from wild_weights import (
    SMALL,
    save_flax,
    save_legacy,
    save_safetensors,
    save_shared,
    write_directory,
)

from gptneo_onnx.export import export_model
from gptneo_onnx.export.calibration.calibration import calibrated_blocks
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.export.checkpoint.torch_file import read_torch_file
from gptneo_onnx.export.graphs.model_weights import model_weights
from gptneo_onnx.models import ModelFileError
from gptneo_onnx.models.graph import NumberFormat, Precision
from gptneo_onnx.models.tasks import Task

PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "base_model.model.",
    "pretrained_model.",
    "module._orig_mod.",
    "_forward_module.model.",
    "pretrained_model.base_model.model.",
    "_fsdp_wrapped_module.",
]


@pytest.fixture
def tensors(random):
    return draw_tensors(SMALL, random)


@pytest.fixture
def write(tmp_path):
    """Write tensors as model.safetensors, or by another writer."""

    def write(tensors, save=save_safetensors, file_name="model.safetensors", **config):
        directory = tmp_path / f"checkpoint{len(list(tmp_path.iterdir()))}"
        return write_directory(directory, save, file_name, tensors, **config)

    return write


def exported(checkpoint):
    """Export the checkpoint; return its weights' bytes, and the lines but that on the tokenizer."""
    lines = []
    out = export_model(checkpoint, checkpoint.with_name("out"), report=lines.append)
    notes = [line for line in lines if "tokenizer" not in line]
    return (out / "model.onnx_data").read_bytes(), notes


def prefixed(prefix, tensors):
    return {prefix + name: array for name, array in tensors.items()}


class TestWrappers:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_a_prefix_is_taken_off_and_reported(self, write, tensors, prefix):
        expected, _ = exported(write(tensors))
        found, (note,) = exported(write(prefixed(prefix, tensors)))
        assert found == expected
        assert f"wrapped model's; '{prefix}transformer." in note
        assert note.isprintable()

    def test_a_prefix_before_bare_names(self, write, tensors):
        bare = {name.removeprefix("transformer."): array for name, array in tensors.items()}
        assert exported(write(prefixed("module.", bare)))[0] == exported(write(tensors))[0]

    def test_a_part_that_was_compiled_alone(self, write, tensors):
        renamed = {name.replace("h.0.", "h.0._orig_mod."): a for name, a in tensors.items()}
        found, (note,) = exported(write(renamed))
        assert found == exported(write(tensors))[0]
        assert "h.0._orig_mod." in note

    def test_names_of_transformers_win_over_a_wrapped_model(self, write, tensors):
        other = {name: array + 1 for name, array in prefixed("model.", tensors).items()}
        found, (note,) = exported(write(tensors | other))
        assert found == exported(write(tensors))[0]
        assert "left out, as no part of a GPT-Neo: model.transformer." in note
        assert note.endswith(f"and {len(tensors) - 5} more")

    def test_names_of_transformers_win_over_bare_ones(self, write, tensors):
        other = {"wte.weight": tensors["transformer.wte.weight"] + 1}
        found, (note,) = exported(write(other | tensors))
        assert found == exported(write(tensors))[0]
        assert note.endswith("left out, as no part of a GPT-Neo: wte.weight")

    def test_a_reference_model_beside_the_trained_one(self, write, tensors):
        both = prefixed("model.", tensors) | prefixed("ref_model.", tensors)
        found, notes = exported(write(both))
        assert found == exported(write(tensors))[0]
        assert "ref_model.transformer" in notes[1]

    def test_two_wrapped_models(self, write, tensors):
        both = prefixed("model.", tensors) | prefixed("module.", tensors)
        with refused(ModelFileError, "'model.*' and 'module.*' are of two models; save the state"):
            open_checkpoint(write(both))

    def test_two_spellings_of_one_tensor(self, write, tensors):
        both = prefixed("_orig_mod.", tensors) | prefixed("_fsdp_wrapped_module.", tensors)
        with refused(ModelFileError, "are of two models"):
            open_checkpoint(write(both))

    def test_an_unknown_prefix_is_named(self, write, tensors):
        directory = write(prefixed("student.", tensors))
        match = r"no tensor wte.weight, but 'student.transformer.wte.weight'; save the state dict"
        with refused(ModelFileError, match):
            export_model(directory, directory.with_name("out"))

    def test_more_layers_than_the_config_has(self, write, tensors):
        config = {"num_layers": 1, "attention_types": [[["global"], 1]]}
        source = open_checkpoint(write(prefixed("module.", tensors), **config))
        assert "there are 1 layers: layer 1" in source.notes[-1]


class TestOtherTensors:
    @pytest.mark.parametrize(
        "name",
        ["summary.weight", "v_head.summary.weight", "transformer.h.0.attn.attention.x", "\x1b"],
    )
    def test_one_that_is_no_part_of_a_gpt_neo_is_named(self, write, tensors, name):
        found, (note,) = exported(write(tensors | {name: np.ones((3, 16), np.float32)}))
        assert found == exported(write(tensors))[0]
        assert note.endswith(f"left out, as no part of a GPT-Neo: {name!r}".replace("'", ""))

    def test_long_names_are_shortened(self, write, tensors):
        many = {f"{number}{'x' * 1000}": np.ones(1, np.float32) for number in range(50)}
        _, (note,) = exported(write(tensors | many))
        assert len(note) < 800

    @pytest.mark.parametrize(
        "name",
        [
            "transformer.h.0.attn.attention.q_proj.lora_A.default.weight",
            "base_model.model.transformer.h.0.attn.attention.q_proj.lora_B.weight",
            "transformer.wte.lora_embedding_A.default",
            "transformer.h.0.mlp.c_fc.lora_magnitude_vector",
        ],
    )
    def test_lora_matrices(self, write, tensors, name):
        directory = write(tensors | {name: np.ones((4, 16), np.float32)})
        with refused(ModelFileError, "holds LoRA matrices beside the weights .*merge_and_unload"):
            export_model(directory, directory.with_name("out"))
        assert not directory.with_name("out").exists()


class TestSharedTensors:
    def test_save_model_of_safetensors(self, write, tensors):
        found, notes = exported(write(tensors, save_shared))
        assert found == exported(write(tensors))[0]
        assert notes == []

    def test_a_tied_head_alone(self, write, tensors):
        kept = dict(tensors)
        kept["lm_head.weight"] = kept.pop("transformer.wte.weight")
        found, (note,) = exported(write(kept))
        assert found == exported(write(tensors))[0]
        assert "lm_head.weight is read as the token embedding too" in note

    def test_an_untied_head_alone(self, write, tensors):
        tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")
        directory = write(tensors, tie_word_embeddings=False)
        with refused(ModelFileError, "no tensor wte.weight"):
            export_model(directory, directory.with_name("out"))

    @pytest.mark.parametrize("metadata", [{"a": "b"}, {"wte.weight": "no.such"}, {"format": "mlx"}])
    def test_other_metadata(self, write, tensors, metadata):
        def save(path, tensors):
            save_safetensors(path, tensors, metadata)

        assert exported(write(tensors, save)) == exported(write(tensors))

    def test_metadata_replaces_no_tensor(self, write, tensors):
        def save(path, tensors):
            save_safetensors(path, tensors, {"transformer.ln_f.weight": "transformer.ln_f.bias"})

        assert exported(write(tensors, save)) == exported(write(tensors))


@pytest.mark.parametrize(
    ("save", "file_name"),
    [
        (save_legacy, "pytorch_model.bin"),
        (save_flax, "flax_model.msgpack"),
        (lambda path, tensors: save_flax(path, tensors, 700), "flax_model.msgpack"),
    ],
)
@pytest.mark.parametrize("tied", [True, False])
def test_formats_give_the_same_export(write, random, save, file_name, tied):
    tensors = draw_tensors(SMALL.but(tie_word_embeddings=tied), random)
    expected = exported(write(tensors, tie_word_embeddings=tied))
    assert exported(write(tensors, save, file_name, tie_word_embeddings=tied)) == expected


def test_flaxs_arrays_in_safetensors(write, tensors):
    def save(path, tensors):
        arrays = {}
        for name, array in tensors.items():
            is_kernel = (array.ndim == 2 and "proj" in name) or ("c_fc" in name and array.ndim == 2)
            kind = "kernel" if is_kernel else "embedding" if array.ndim == 2 else "scale"
            stem, _, last = name.rpartition(".")
            name = name if last == "bias" else f"{stem}.{kind}"
            arrays[name] = np.ascontiguousarray(array.T) if is_kernel else array
        save_safetensors(path, arrays, {"format": "flax"})

    assert exported(write(tensors, save)) == exported(write(tensors))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module"])
def test_a_state_dict_within_a_training_checkpoint(tmp_path, key):
    wrapped = {"epoch": 3, key: state_dict({"weight": tensor("float32", "0", 12, (3, 4))})}
    write_archive(tmp_path / "model.bin", dumps(wrapped), {"0": bytes(48)})
    assert list(read_torch_file(tmp_path / "model.bin")) == ["weight"]


def test_calibration_reads_transposed_weights(write, tensors):
    results = []
    for arguments in ((save_torch, "pytorch_model.bin"), (save_flax, "flax_model.msgpack")):
        source = open_checkpoint(write(tensors, *arguments))
        blocks = calibrated_blocks(source, np.arange(16).reshape(2, 8))
        sizes = [source.config.cache_head_dim]
        groups = model_weights(
            source, NumberFormat.of(Precision.INT8), sizes, Task.TEXT_GENERATION_WITH_PAST, blocks
        )
        results.append([part.tobytes() for group in groups for part in group.read().values()])
    assert results[0] == results[1]
