"""Weights in another place, as training frameworks leave them: the one line says what to do."""

import json
import shutil

import pytest
from checkpoints import draw_tensors
from refusals import refused
from wild_weights import SMALL, save_legacy, save_safetensors, write_directory

from gptneo_onnx.export import export_model
from gptneo_onnx.models import InputError, ModelFileError

STATES = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "scaler.pt"]


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


@pytest.mark.parametrize("has_config", [True, False])
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("global_step500/", r"a checkpoint of DeepSpeed; run the zero_to_fp32\.py"),
        ("mp_rank_00_model_states.pt", "a checkpoint of DeepSpeed"),
        ("layer_00-model_00-model_states.pt", "a checkpoint of DeepSpeed; .*GPT-NeoX's conversion"),
        ("pytorch_model_fsdp_0/", "shards of FSDP; join them with `accelerate merge-weights`"),
        ("__0_0.distcp", "shards of FSDP"),
        ("latest_checkpointed_iteration.txt", "a checkpoint of Megatron; convert it"),
        ("iter_0000500/", "a checkpoint of Megatron; convert it"),
        ("checkpoint_metadata.json", "a checkpoint of nanotron; convert it"),
        ("gptneo_onnx.json", "is an export, not a checkpoint"),
        ("model-00001-of-00002.safetensors", r"but not model\.safetensors\.index\.json"),
        ("pytorch_model-00001-of-00002.bin", r"but not pytorch_model\.bin\.index\.json"),
    ],
)
def test_checkpoints_of_frameworks(directory, name, match, has_config):
    if not has_config:
        (directory / "config.json").unlink()
    path = directory / name
    path.mkdir() if name.endswith("/") else path.write_bytes(b"")
    refuses(directory, match)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("pytorch_model_fsdp.bin", "pytorch_model.bin"),
        ("consolidated.safetensors", "model.safetensors"),
        ("model_1.safetensors", "model.safetensors"),
        ("epoch=3-step=100.ckpt", "pytorch_model.bin"),
        ("consolidated.00.pth", "pytorch_model.bin"),
    ],
)
def test_weights_under_another_name(directory, name, known):
    for each in (name, *STATES):
        (directory / each).write_bytes(b"")
    refuses(directory, f"holds '{name}': if those are the model's weights, rename it to {known}")


def test_the_states_of_a_trainer_alone_are_no_weights(directory):
    for name in STATES:
        (directory / name).write_bytes(b"")
    refuses(directory, r"holds no weights: fetch model\.safetensors or pytorch_model\.bin")


def test_the_folder_that_a_trainer_wrote_last(directory, random):
    for steps in ("checkpoint-500", "checkpoint-1000", "runs"):
        (directory / steps).mkdir()
    tensors = draw_tensors(SMALL, random)
    for steps in (500, 1000):
        write_directory(
            directory / f"checkpoint-{steps}", save_safetensors, "model.safetensors", tensors
        )
    refuses(directory, "its folder 'checkpoint-1000' does: export that")
    export_model(directory / "checkpoint-1000", directory.with_name("out"))


def test_a_folder_of_sentence_transformers(directory, random):
    (directory / "modules.json").write_text("[]")
    (directory / "1_Pooling").mkdir()
    write_directory(
        directory / "0_Transformer", save_legacy, "pytorch_model.bin", draw_tensors(SMALL, random)
    )
    refuses(directory, "its folder '0_Transformer' does: export that")


def test_weights_without_a_config(directory, random):
    save_safetensors(directory / "model.safetensors", draw_tensors(SMALL, random))
    (directory / "config.json").unlink()
    refuses(directory, r"config\.json is missing: copy that of the model that was trained")
    shutil.copy(directory / "model.safetensors", directory / "model_1.safetensors")
    refuses(directory, r"config\.json is missing")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("model.tar.gz", "is an archive: unpack it, and pass the directory"),
        ("model.zip", "is an archive: unpack it"),
        ("model.safetensors", r"is a file: pass the directory with it and config\.json"),
        ("weights.pt", r"is a file: pass the directory .*\(model\.safetensors, pytorch_model\.bin"),
        ("last.ckpt", "is a file: pass the directory"),
        ("notes.txt", r"is not a directory; pass a directory that holds config\.json"),
    ],
)
def test_a_file_instead_of_a_directory(tmp_path, name, match):
    (tmp_path / name).write_bytes(b"")
    with refused(InputError, match):
        export_model(tmp_path / name, tmp_path / "out")
