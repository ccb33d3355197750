"""What a checkpoint may be named by: a directory, or a hub id that can be fetched."""

import pytest
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint.hub import local_checkpoint
from gptneo_onnx.models import InputError

INSTEAD = "pass a directory that holds config.json and model.safetensors"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Set what the hub's client has read from its environment, if it was imported before."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


def test_a_directory_is_itself(tmp_path):
    assert local_checkpoint(tmp_path) == tmp_path
    assert local_checkpoint(str(tmp_path)) == tmp_path


def test_a_directory_wins_over_a_hub_id(tmp_path):
    (tmp_path / "EleutherAI" / "gpt-neo-125m").mkdir(parents=True)
    assert local_checkpoint("EleutherAI/gpt-neo-125m").is_dir()


@pytest.mark.parametrize("revision", [None, "main", "no-such-branch"])
def test_a_hub_id_offline_says_what_to_pass_instead(tmp_path, revision):
    with refused(InputError, f"EleutherAI/gpt-neo-125m cannot be fetched from the hub.*{INSTEAD}"):
        export_model("EleutherAI/gpt-neo-125m", tmp_path / "out", revision=revision)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("hub_id", ["a/..", "-a/b", "a--b/c", "a/b.git", "x" * 200 + "/y"])
def test_hub_ids_that_the_hub_refuses(hub_id):
    with refused(InputError, f"cannot be fetched from the hub.*{INSTEAD}"):
        local_checkpoint(hub_id)


@pytest.mark.parametrize(
    "name",
    ["no-such-folder", "/no/such/folder", "a/b/c", "~/model", "a b/c", "é/b", "a/b\n", "x\0y"],
)
def test_a_path_to_nothing(name):
    with refused(InputError, f"is not a directory; {INSTEAD}"):
        local_checkpoint(name)


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 5000])
def test_a_path_that_is_too_long(name):
    with refused(InputError, f"is not a directory; {INSTEAD}"):
        local_checkpoint(name)


def test_a_file(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with refused(InputError, rf"model\.safetensors' is not a directory; {INSTEAD}"):
        local_checkpoint(tmp_path / "model.safetensors")


def test_a_file_whose_path_looks_like_a_hub_id(tmp_path):
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "model").write_bytes(b"")
    with refused(InputError, f"'owner/model' is not a directory; {INSTEAD}"):
        local_checkpoint("owner/model")


def test_a_dangling_symlink(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with refused(InputError, f"is not a directory; {INSTEAD}"):
        local_checkpoint(tmp_path / "link")
