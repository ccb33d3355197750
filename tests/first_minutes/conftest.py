"""The directory in which a newcomer's first lines are run."""

import shutil
from pathlib import Path

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT

MODEL = "gpt-neo-125m"


@pytest.fixture(scope="session")
def first_directory(embedded_export, tmp_path_factory) -> Path:
    """An export, its checkpoint, prompts and a text, under the names of the tables."""
    directory = tmp_path_factory.mktemp("first_minutes")
    (directory / MODEL).symlink_to(embedded_export, target_is_directory=True)
    shutil.copytree(EMBEDDED_CHECKPOINT, directory / "checkpoint")
    (directory / "prompts.txt").write_text("It is a truth\n\nShe was\n")
    (directory / "prompts.jsonl").write_text('"It is a truth"\n{"id": 7, "prompt": "She was"}\n')
    text = "It is a truth universally acknowledged, that a single man must be in want of a wife.\n"
    (directory / "text.txt").write_text(text)
    return directory


@pytest.fixture(autouse=True)
def in_first_directory(first_directory, monkeypatch, tmp_path) -> None:
    """Each line runs there, without models of the hub."""
    monkeypatch.chdir(first_directory)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
