"""What a checkpoint may be named by: a directory, or a hub id that can be fetched."""

import shutil
from fnmatch import fnmatch

import pytest
from adapters import draw_attention, write_adapter
from checkpoints import Shape, write_checkpoint
from fake_hub_cache import cache_files
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint.hub import local_checkpoint
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError

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


@pytest.mark.parametrize("hub_id", ["a--b/c", "a/b.git"])
def test_hub_ids_that_the_hub_refuses(hub_id):
    with refused(InputError, f"cannot be fetched from the hub.*{INSTEAD}"):
        local_checkpoint(hub_id)


@pytest.mark.parametrize(
    "name",
    [
        *("no-such-folder", "/no/such/folder", "a/b/c", "~/model", "a b/c", "é/b", "a/b\n", "x\0y"),
        *("a/..", "./a", "-a/b", "x" * 200 + "/y"),
    ],
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
    with refused(InputError, r"model\.safetensors' is a file: pass the directory with it"):
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


class TestWhatIsFetched:
    """A hub that holds files of the names given, and hands out those that patterns ask for."""

    @pytest.fixture
    def fetch(self, monkeypatch, tmp_path):
        def fetch(names, variant=None):
            def snapshot_download(hub_id, *, revision, allow_patterns):
                for name in names:
                    if any(fnmatch(name, pattern) for pattern in allow_patterns):
                        (tmp_path / name).write_bytes(b"")
                return str(tmp_path)

            monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
            path = local_checkpoint("owner/model", variant=variant)
            return sorted(file.name for file in path.iterdir() if file.suffix != ".json")

        return fetch

    FILES = ("pytorch_model.bin", "flax_model.msgpack", "tf_model.h5", "config.json")

    @pytest.mark.parametrize(
        ("names", "fetched"),
        [
            (["model.safetensors"], ["model.safetensors"]),
            (["model.safetensors.index.json", "a.safetensors"], ["a.safetensors"]),
            ([], ["pytorch_model.bin"]),
            (["adapter_model.safetensors"], ["adapter_model.safetensors", "pytorch_model.bin"]),
            (["model.fp16.safetensors"], ["model.fp16.safetensors", "pytorch_model.bin"]),
        ],
    )
    def test_safetensors_or_else_pytorchs(self, fetch, names, fetched):
        assert fetch([*names, *self.FILES]) == fetched

    def test_flaxs_if_there_is_nothing_else(self, fetch):
        assert fetch(["flax_model.msgpack", "tf_model.h5"]) == ["flax_model.msgpack"]

    @pytest.mark.parametrize(
        "names",
        [
            ["model.fp16.safetensors"],
            ["pytorch_model.fp16.bin"],
            ["model.safetensors.index.fp16.json", "model.fp16-00001-of-00001.safetensors"],
            ["model.safetensors.index.fp16.json", "model-00001-of-00001.fp16.safetensors"],
            ["pytorch_model.bin.index.fp16.json", "pytorch_model.fp16-00001-of-00001.bin"],
        ],
    )
    def test_a_variant(self, fetch, names):
        assert fetch([*names, *self.FILES, "model.safetensors"], "fp16") == names[-1:]


@pytest.fixture
def cached(tmp_path, random):
    """Hub ids of a checkpoint, a tokenizer and an adapter whose files are in the cache."""
    shape = Shape(vocab_size=1024, hidden_size=16, num_heads=2)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", shape, random)
    adapter = write_adapter(tmp_path / "adapter", draw_attention(shape, random))
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED_CHECKPOINT / name, tokenizer)
    cache_files(tmp_path / "hub", "one/model", checkpoint)
    cache_files(tmp_path / "hub", "one/tokenizer", tokenizer)
    cache_files(tmp_path / "hub", "one/adapter", adapter)
    return checkpoint, tokenizer, adapter


def test_hub_ids_export_what_their_directories_do(tmp_path, cached):
    checkpoint, tokenizer, adapter = cached
    by_id = export_model(
        "one/model", tmp_path / "by_id", tokenizer="one/tokenizer", adapter="one/adapter"
    )
    by_path = export_model(checkpoint, tmp_path / "by_path", tokenizer=tokenizer, adapter=adapter)
    assert sorted(path.name for path in by_id.iterdir()) == sorted(
        path.name for path in by_path.iterdir()
    )
    for path in by_path.iterdir():
        assert (by_id / path.name).read_bytes() == path.read_bytes(), path.name


def test_an_adapter_that_is_not_cached(tmp_path, cached):
    with refused(InputError, "one/other cannot be fetched from the hub .* instead"):
        export_model("one/model", tmp_path / "out", adapter="one/other")
    assert not (tmp_path / "out").exists()
