"""Every line of the column "here" of docs/coming-from-transformers.md runs, in the page's order."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from heads import with_head

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.main import build_parser

PAGE = Path(__file__).parent.parent / "docs/coming-from-transformers.md"
HEADS = {
    "classifier": Head.SEQUENCE_CLASSIFICATION,
    "tagger": Head.TOKEN_CLASSIFICATION,
    "answerer": Head.QUESTION_ANSWERING,
}


def rows() -> list[list[str]]:
    """The cells of every row below the tables' heads."""
    lines = re.findall(r"^\| (.*)\|$", PAGE.read_text(), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [row for row in cells if row[1] != "here"]


def here() -> list[str]:
    """The code of the column "here"."""
    return [code for row in rows() for code in re.findall(r"`([^`]+)`", row[1])]


def test_every_row_has_three_cells_and_says_something():
    assert len(rows()) > 70
    for there, code, difference in rows():
        assert there
        assert code or difference, there
        assert not code or re.fullmatch(r"`[^`]+`", code), code


def test_every_section_that_a_user_looks_for_is_there():
    text = PAGE.read_text().lower()
    for subject in (
        "pipeline", "generationconfig", "streamer", "logitsprocessor", "hidden_states",
        "bitsandbytes", "gptq", "device", "dtype", "trainer", "hub", "chat", "assistant_model",
        "ortmodelforcausallm", "optimum-cli export onnx",
    ):  # fmt: skip
        assert subject in text, subject


@pytest.fixture
def models(embedded_export, tmp_path, monkeypatch, random):
    """The models of the page, under its names, in the current directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("gpt-neo-1.3B", "gpt-neo-125M"):
        (tmp_path / name).symlink_to(embedded_export, target_is_directory=True)
    for name, head in HEADS.items():
        checkpoint = Path(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / f"{name}-checkpoint"))
        export_model(with_head(checkpoint, head, random), tmp_path / name)


@pytest.mark.slow
def test_the_python_of_every_row_runs(models):
    pytest.importorskip("jinja2")
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    lines = [line for line in here() if not line.startswith("gptneo-onnx ")]
    assert len(lines) > 40
    for line in lines:
        try:
            exec(line, names)
        except Exception as error:
            error.add_note(f"in the line {line}")
            raise
    assert len(names["texts"]) == 2
    assert names["ids"].shape[0] == 2


def test_the_command_of_every_row_can_be_parsed():
    lines = [line for line in here() if line.startswith("gptneo-onnx ")]
    assert len(lines) > 10
    for line in lines:
        build_parser().parse_args(shlex.split(line)[1:])
