"""The small files beside a graph: where they may link to."""

import os
import shutil
from pathlib import Path

import pytest
from fake_hub_cache import cache_files
from refusals import refused

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, ModelFileError
from gptneo_onnx.runtime import GenerationConfig, Tokenizer
from gptneo_onnx.runtime.companion_files import check_generation_links, check_tokenizer_links
from gptneo_onnx.runtime.generation.config_combination import model_generation_config

FILES = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/tools.jinja",
    "config.json",
]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint whose small files are all there, and read."""
    directory = tmp_path / "model"
    shutil.copytree(EMBEDDED_CHECKPOINT, directory, ignore=shutil.ignore_patterns("*.safetensors"))
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    (directory / "additional_chat_templates").mkdir()
    (directory / "additional_chat_templates/tools.jinja").write_text("{{ tools }}")
    for name in ("special_tokens_map.json", "added_tokens.json", "vocab.json"):
        (directory / name).write_text("{}")
    (directory / "merges.txt").write_text("#version: 0.2\n")
    (directory / "generation_config.json").write_text("{}")
    return directory


@pytest.fixture(params=["model.onnx", "onnx/decoder_model_merged.onnx"])
def foreign(checkpoint: Path, request: pytest.FixtureRequest) -> Path:
    """The same beside a graph: a directory of another exporter."""
    (checkpoint / request.param).parent.mkdir(exist_ok=True)
    (checkpoint / request.param).write_bytes(b"")
    return checkpoint


def link_out(path: Path, elsewhere: Path) -> None:
    elsewhere.mkdir()
    path.rename(elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)


@pytest.mark.parametrize("name", FILES)
def test_a_tokenizers_file_may_not_link_out(foreign: Path, tmp_path: Path, name: str) -> None:
    Tokenizer.from_pretrained(foreign)
    link_out(foreign / name, tmp_path / "elsewhere")
    with refused(ModelFileError, f"{name} links out of its directory; copy the file instead"):
        Tokenizer.from_pretrained(foreign)


def test_a_folder_of_templates_may_not_link_out(foreign: Path, tmp_path: Path) -> None:
    link_out(foreign / "additional_chat_templates", tmp_path / "elsewhere")
    with refused(ModelFileError, "additional_chat_templates links out of its directory"):
        Tokenizer.from_pretrained(foreign)


@pytest.mark.parametrize("read", [model_generation_config, GenerationConfig.from_pretrained])
def test_generation_config_may_not_link_out(foreign: Path, tmp_path: Path, read) -> None:
    read(foreign)
    link_out(foreign / "generation_config.json", tmp_path / "elsewhere")
    with refused(ModelFileError, "generation_config.json links out of its directory"):
        read(foreign)


def test_a_secret_is_not_read_through_a_hard_link(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (foreign / "chat_template.jinja").unlink()
    os.link(tmp_path / "secret", foreign / "chat_template.jinja")
    with refused(ModelFileError, "chat_template.jinja has another hard link elsewhere"):
        Tokenizer.from_pretrained(foreign)


def test_links_within_the_directory_are_followed(foreign: Path) -> None:
    (foreign / "tokenizer.json").rename(foreign / "real.json")
    (foreign / "tokenizer.json").symlink_to("real.json")
    Tokenizer.from_pretrained(foreign)


@pytest.mark.parametrize("name", [*FILES, "generation_config.json"])
def test_a_checkpoint_may_share_files_by_links(checkpoint: Path, tmp_path: Path, name: str) -> None:
    """A directory without a graph is no model that runs: people link files between checkpoints."""
    link_out(checkpoint / name, tmp_path / "elsewhere")
    Tokenizer.from_pretrained(checkpoint)
    model_generation_config(checkpoint)


def test_a_snapshot_links_to_the_caches_blobs(foreign: Path, tmp_path: Path) -> None:
    snapshot = cache_files(tmp_path / "cache", "owner/name", foreign)
    Tokenizer.from_pretrained(snapshot)
    check_tokenizer_links(snapshot)
    check_generation_links(snapshot)
    (snapshot / "tokenizer_config.json").unlink()
    (snapshot / "tokenizer_config.json").symlink_to(foreign / "tokenizer_config.json")
    with refused(ModelFileError, "tokenizer_config.json links out of its directory"):
        Tokenizer.from_pretrained(snapshot)


def test_an_export_of_ours_may_have_other_hard_links(embedded_export: Path, tmp_path: Path) -> None:
    """The manifest says what its files hold, and set-tokenizer makes such links."""
    shutil.copytree(embedded_export, tmp_path / "copy", copy_function=os.link)
    Tokenizer.from_pretrained(tmp_path / "copy")
