"""An exported directory is only opened if it is as its manifest says."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.models.errors import (
    GPTNeoOnnxError,
    InputError,
    MissingDependencyError,
    ModelFileError,
)
from gptneo_onnx.models.manifest import MANIFEST_FILE, sha256_of
from gptneo_onnx.runtime import GPTNeoForCausalLM, pipeline
from gptneo_onnx.runtime.files import is_directory
from gptneo_onnx.runtime.model_files.directory import open_model_directory

FILES = ("model.onnx", "model.onnx_data", "config.json", "generation_config.json")


@pytest.fixture
def export(export_shape: Callable[..., Path]) -> Path:
    return export_shape()


def open_fully(directory: str | Path) -> None:
    open_model_directory(directory).verification.finish()


def refused(
    directory: str | Path, match: str, kind: type[GPTNeoOnnxError] = ModelFileError
) -> None:
    with pytest.raises(kind, match=match) as caught:
        open_fully(directory)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def change_one_byte(path: Path, position: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def change_manifest(directory: Path, **changes: Any) -> None:
    path = directory / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def list_as_it_is(directory: Path, *names: str) -> None:
    """Make the manifest fit, as an attacker can: it only protects from accidents."""
    files = json.loads((directory / MANIFEST_FILE).read_text())["files"]
    for name in names:
        path = directory / name
        files[name] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    change_manifest(directory, files=files)


def test_an_export_is_opened(export: Path) -> None:
    model = open_model_directory(export)
    model.verification.finish()
    assert model.path == export
    assert model.graph == export / "model.onnx"
    assert model.config.hidden_size == 32
    assert set(model.manifest.files) == set(FILES)
    assert len(model.contract.caches) == 2


def test_an_export_may_be_moved_and_given_as_text(export: Path, tmp_path: Path) -> None:
    open_fully(str(export.rename(tmp_path / "else where")))


# Changed files.


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("position", [0, -1])
def test_one_changed_byte_is_refused(export: Path, name: str, position: int) -> None:
    change_one_byte(export / name, position)
    refused(
        export, rf"{name} was changed since the export \(its SHA-256 differs\); export .* again"
    )


def test_a_changed_tokenizer_is_refused(export: Path) -> None:
    (export / "tokenizer.json").write_text('{"model": 1}')
    list_as_it_is(export, "tokenizer.json")
    open_fully(export)
    (export / "tokenizer.json").write_text('{"model": 2}')
    refused(export, "tokenizer.json was changed since the export")


def test_changed_weights_are_refused_by_from_pretrained(export: Path) -> None:
    change_one_byte(export / "model.onnx_data", 1000)
    with pytest.raises(ModelFileError, match="model.onnx_data was changed since the export"):
        GPTNeoForCausalLM.from_pretrained(export)


def test_changed_weights_are_refused_even_if_no_session_can_be_made(export: Path) -> None:
    change_one_byte(export / "model.onnx_data")
    with pytest.raises(ModelFileError, match="model.onnx_data was changed since the export"):
        GPTNeoForCausalLM.from_pretrained(export, num_threads=0)


def test_weights_of_another_model_are_refused(export: Path, tmp_path: Path, random: Any) -> None:
    from gptneo_onnx.export import export_model

    other = export_model(write_checkpoint(tmp_path / "c", Shape(), random), tmp_path / "other")
    shutil.copyfile(other / "model.onnx_data", export / "model.onnx_data")
    refused(export, "model.onnx_data was changed")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(export: Path, name: str) -> None:
    (export / name).unlink()
    refused(export, f"{name} is missing; fetch or export the model again")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_refused(export: Path, name: str, change: int) -> None:
    size = (export / name).stat().st_size
    os.truncate(export / name, size + change)
    refused(export, f"{name} has {size + change} bytes, {MANIFEST_FILE} says {size}; fetch or")


def test_half_downloaded_weights_are_refused(export: Path) -> None:
    size = (export / "model.onnx_data").stat().st_size
    os.truncate(export / "model.onnx_data", size // 2)
    refused(export, rf"model.onnx_data has {size // 2} bytes, .* says {size}; fetch or export")


def test_a_file_that_is_not_listed_is_refused(export: Path) -> None:
    (export / "added_tokens.json").write_text("{}")
    refused(export, f"added_tokens.json is not listed in {MANIFEST_FILE}; remove it")


def test_a_folder_that_is_not_listed_is_refused(export: Path) -> None:
    (export / "onnx").mkdir()
    refused(export, "onnx is not listed")


@pytest.mark.parametrize("name", ["README.md", "LICENSE", ".gitattributes"])
def test_what_hubs_add_is_passed_over(export: Path, name: str) -> None:
    (export / name).write_text("text")
    open_fully(export)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx_data", "config.json"])
def test_a_manifest_that_leaves_out_a_needed_file_is_refused(export: Path, name: str) -> None:
    files = json.loads((export / MANIFEST_FILE).read_text())["files"]
    del files[name]
    change_manifest(export, files=files)
    refused(export, f"{MANIFEST_FILE} does not list {name}; export the checkpoint again")


# Whoever changes a file can change the manifest too: what is left is the check of the contents.


def test_another_config_with_a_fitting_manifest_is_refused(export: Path) -> None:
    config = json.loads((export / "config.json").read_text())
    (export / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    list_as_it_is(export, "config.json")
    refused(export, "config.json makes the weight wte.weight")


def test_a_damaged_config_with_a_fitting_manifest_is_refused(export: Path) -> None:
    (export / "config.json").write_text('{"model_type": "gpt_neo", "num_layers": -1}')
    list_as_it_is(export, "config.json")
    refused(export, "config.json: num_layers is -1; a whole number from 1")


def test_shorter_weights_with_a_fitting_manifest_are_refused(export: Path) -> None:
    os.truncate(export / "model.onnx_data", (export / "model.onnx_data").stat().st_size - 1)
    list_as_it_is(export, "model.onnx_data")
    refused(export, "ends at byte .* of model.onnx_data")


def test_another_graph_with_a_fitting_manifest_is_refused(export: Path) -> None:
    (export / "model.onnx").write_bytes(b"\x08\x0a")
    list_as_it_is(export, "model.onnx")
    refused(export, "model.onnx: the version of the standard operators is missing")


# Links, pipes and folders.


@pytest.mark.parametrize("name", [*FILES, MANIFEST_FILE])
def test_a_link_out_of_the_directory_is_refused(export: Path, tmp_path: Path, name: str) -> None:
    (export / name).rename(tmp_path / name)
    (export / name).symlink_to(tmp_path / name)
    refused(export, f"{name} links out of its directory; copy the file instead")


def test_a_link_to_a_secret_is_refused(export: Path) -> None:
    (export / "config.json").unlink()
    (export / "config.json").symlink_to("/etc/passwd")
    refused(export, "config.json links out of its directory")


def test_a_link_within_the_directory_is_followed(export: Path) -> None:
    (export / ".store").mkdir()
    (export / "model.onnx_data").rename(export / ".store" / "weights")
    (export / "model.onnx_data").symlink_to(".store/weights")
    open_fully(export)
    GPTNeoForCausalLM.from_pretrained(export)


def test_a_directory_that_is_itself_a_link_is_opened(export: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(export)
    open_fully(tmp_path / "link")


def snapshot(export: Path, repository: Path, store: str = "blobs") -> Path:
    """The directory as huggingface_hub keeps it: every file a link to a blob."""
    (repository / store).mkdir(parents=True)
    made = repository / "snapshots" / "0123abcd"
    made.mkdir(parents=True)
    for path in export.iterdir():
        blob = repository / store / sha256_of(path)
        shutil.copyfile(path, blob)
        (made / path.name).symlink_to(f"../../{store}/{blob.name}")
    return made


def test_a_snapshot_in_the_hubs_cache_is_opened(export: Path, tmp_path: Path) -> None:
    directory = snapshot(export, tmp_path / "models--a--b")
    open_fully(directory)
    GPTNeoForCausalLM.from_pretrained(directory)


def test_a_snapshot_that_links_elsewhere_is_refused(export: Path, tmp_path: Path) -> None:
    directory = snapshot(export, tmp_path / "models--a--b", store="elsewhere")
    refused(directory, "links out of its directory")


@pytest.mark.parametrize("target", ["config.json", "nowhere"])
def test_a_link_that_leads_nowhere_is_refused(export: Path, target: str) -> None:
    (export / "config.json").unlink()
    (export / "config.json").symlink_to(target)
    refused(export, "config.json is missing")


def test_copies_by_hard_links_are_opened(export: Path, tmp_path: Path) -> None:
    """As `cp -al` makes them; each file's hash is in the manifest."""
    copy = tmp_path / "copy"
    shutil.copytree(export, copy, copy_function=os.link)
    for directory in (export, copy):
        open_fully(directory)
        GPTNeoForCausalLM.from_pretrained(directory)


@pytest.mark.parametrize("name", FILES)
def test_a_hard_link_to_another_content_is_refused(export: Path, tmp_path: Path, name: str) -> None:
    size = (export / name).stat().st_size
    (tmp_path / "private").write_bytes(b"x" * size)
    (export / name).unlink()
    os.link(tmp_path / "private", export / name)
    refused(export, f"{name} was changed since the export")


@pytest.mark.parametrize("name", [*FILES, MANIFEST_FILE])
def test_a_folder_in_place_of_a_file_is_refused(export: Path, name: str) -> None:
    (export / name).unlink()
    (export / name).mkdir()
    refused(export, f"{name} is not a regular file")


@pytest.mark.parametrize("name", [*FILES, MANIFEST_FILE])
def test_a_pipe_is_refused_without_waiting_for_a_writer(export: Path, name: str) -> None:
    (export / name).unlink()
    os.mkfifo(export / name)
    refused(export, f"{name} is not a regular file")


# Other directories.


def test_a_directory_without_a_manifest_is_refused(export: Path, tmp_path: Path) -> None:
    refused(
        tmp_path,
        f"is not an exported model: it has neither {MANIFEST_FILE} nor a graph; make one with",
        InputError,
    )


def test_a_checkpoint_must_be_exported_first(export: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    refused(
        checkpoint,
        f"{checkpoint} is a checkpoint; export it first: gptneo-onnx export {checkpoint} OUT",
        InputError,
    )


@pytest.mark.parametrize("name", ["EleutherAI/gpt-neo-125m", "nowhere", "", "a\0b", "x" * 5000])
def test_what_is_neither_a_directory_nor_a_cached_hub_id_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(InputError, match="is neither a directory nor (in the cache|a hub id)"):
        GPTNeoForCausalLM.from_pretrained(name)


def test_a_file_is_no_directory(export: Path) -> None:
    path = export / "model.onnx"
    refused(path, f"{path} is not a directory; .* must be exported first", InputError)


def test_the_pipeline_refuses_as_the_model_does(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is neither a directory nor a hub id"):
        pipeline("text-generation", model=tmp_path / "nowhere")


def test_what_is_no_path_is_no_directory(tmp_path: Path) -> None:
    assert is_directory(tmp_path)
    assert not any(map(is_directory, (tmp_path / "nowhere", "a\0b", "word " * 1000)))


# Versions.


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_another_format_is_refused(export: Path, version: Any) -> None:
    change_manifest(export, format_version=version)
    refused(export, "format_version is .*; this version reads 1: export .* or update gptneo-onnx")


@pytest.mark.parametrize("installed", ["1.29.9", "1.9.0", "0.30.0", "1.30.0rc1"])
def test_a_model_that_needs_a_newer_onnx_runtime_is_refused(
    export: Path, monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", installed)
    change_manifest(export, least_onnx_runtime="1.30.1")
    refused(
        export,
        f"needs ONNX Runtime 1.30.1 or later, and {installed} is installed: pip install --upgrade",
        MissingDependencyError,
    )


@pytest.mark.parametrize("installed", ["1.30.1", "1.31", "1.100.0", "2.0.0", "1.31.0.dev20260101"])
def test_the_same_or_a_newer_onnx_runtime_will_do(
    export: Path, monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", installed)
    change_manifest(export, least_onnx_runtime="1.30.1")
    open_fully(export)


def test_a_file_that_may_not_be_read_is_refused(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.open", forbidden)
    refused(export, r"cannot be read \(Permission denied\); check its permissions")
