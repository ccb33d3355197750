"""Every line of commands.toml gives what is written there."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gptneo_onnx.runtime.cli.main import main

TABLE = Path(__file__).with_name("commands.toml")
PROGRAM = "gptneo-onnx"
ROWS: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["command"]
KEYS = {"run", "status", "out", "err", "stdin", "after", "json"}


def run(line: str) -> int:
    """Run a command line in this process, and return its exit status."""
    program, *arguments = shlex.split(line)
    assert program == PROGRAM
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def test_the_table_is_large_and_has_no_line_twice():
    lines = [row["run"] for row in ROWS]
    assert len(lines) > 80
    assert len(set(lines)) == len(lines)
    assert all(set(row) <= KEYS for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row["run"] for row in ROWS])
def test_a_command_gives_what_the_table_says(row, monkeypatch, capsys):
    if "after" in row:
        assert run(row["after"]) == 0
        capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO(row.get("stdin", "")))
    status = run(row["run"])
    out, err = capsys.readouterr()
    assert status == row.get("status", 0), err
    for pattern, text in ((row.get("out", "^$"), out), (row.get("err", "^$"), err)):
        assert re.search(pattern, text), text
    if status == 2 and err.startswith(f"{PROGRAM}: error: "):
        assert err.count("\n") == 1
    if row.get("json"):
        assert [json.loads(line) for line in out.splitlines()]


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's line, in which $python is this one."""
    environment = {**os.environ, "python": sys.executable}
    command = ["/bin/sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize(
    ("script", "out"),
    [
        ('"$python" -m gptneo_onnx --version', r"^gptneo-onnx [\d(]"),
        (
            'echo "It is a truth" | "$python" -m gptneo_onnx generate gpt-neo-125m -n 5 --temp 0',
            r"^It is a truth, and I am sure\n$",
        ),
        (
            '"$python" -m gptneo_onnx generate gpt-neo-125m "It is" -n 300 --seed 1 | head -1',
            r"^It is[^\n]*\n$",
        ),
        (
            '"$python" -m gptneo_onnx generate gpt-neo-125m "It is" -n 3 --json | '
            '"$python" -c \'import json, sys; print(json.load(sys.stdin)["prompt"])\'',
            r"^It is\n$",
        ),
        ('"$python" -m gptneo_onnx info nowhere 2>/dev/null || echo "status $?"', r"^status 2\n$"),
    ],
)
def test_a_shell_line_gives_what_is_written_here(script, out):
    done = shell(script)
    assert re.search(out, done.stdout), (done.stdout, done.stderr)
    assert done.stderr == ""


def test_completion_without_its_extra_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert run("gptneo-onnx completion bash") == 2
    assert "pip install 'gptneo-onnx[completion]'" in capsys.readouterr().err
