"""What files and names hold cannot steer the terminal: through the real command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.cli.messages import complain, notice, show_warning

# Colours, a link, the clipboard, a title, a line that is written over, a reversed name, a bell.
VALUES = [
    "\x1b[31mred",
    "\x1b]8;;http://x\x07link\x1b]8;;\x07",
    "\x1b]52;c;eA==\x07",
    "\x9b2Jcleared",
    "first\r\nsecond",
    "over\rwritten",
    "\u202egnp.exe\u2066",
    "bell\x07\x08\x7f",
    "\u2028next\x85line",
]


def check(text: str, lines: int | None = None) -> None:
    """Check that lines are printable, and how many there are."""
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    if lines is not None:
        assert len(text.splitlines()) == lines, ascii(text)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_names_of_models_and_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, embedded_export: Path, value: str
) -> None:
    for arguments in (
        ("info", tmp_path / value),
        ("generate", tmp_path / value, "Once"),
        ("export", tmp_path / value, tmp_path / "out"),
        ("set-tokenizer", embedded_export, value),
        ("perplexity", embedded_export, tmp_path / value),
    ):
        status, out, error = run(capsys, *arguments)
        assert status == 2
        check(out, 0)
        check(error, 1)


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_values_of_a_checkpoints_files(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, value: str
) -> None:
    for name, entries in {
        "config.json": {"activation_function": value},
        "tokenizer.json": {"normalizer": {"type": value}},
        "tokenizer_config.json": {"chat_template": [value]},
        "generation_config.json": {"temperature": value},
    }.items():
        path = checkpoint / name
        before = path.read_text() if path.exists() else "{}"
        path.write_text(before)
        change(path, **entries)
        status, out, error = run(capsys, "check", checkpoint)
        check(out)
        check(error)
        if name != "generation_config.json":  # what it sets is no business of an export
            assert status == 2, name
            check(error, 1)
        path.write_text(before)


@pytest.mark.parametrize("value", VALUES[:5], ids=ascii)
def test_what_is_accepted_is_shown_without_effect(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path, value: str
) -> None:
    change(checkpoint / "tokenizer_config.json", tokenizer_class=value)
    change(checkpoint / "config.json", **{value: 1})
    status, out, error = run(capsys, "check", checkpoint)
    assert status == 0
    check(out)
    check(error)
    named = tmp_path / f"named {value.replace('/', '')}"
    checkpoint.rename(named)
    status, out, error = run(capsys, "check", named)
    assert status == 0
    check(out)
    check(error)


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_every_kind_of_line(capsys: pytest.CaptureFixture[str], value: str) -> None:
    for say in (complain, show_warning, notice):
        say(f"{value} is {value}")
        say(f"long {value}" * 1000)
        error = capsys.readouterr().err
        check(error, 2)
        assert len(error) < 5000


def test_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gptneo_onnx", "info", f"{tmp_path}/\x1b[2J\nno"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stdout == ""
    check(process.stderr, 1)
    assert "\\x1b[2J\\nno" in process.stderr
