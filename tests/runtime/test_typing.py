"""Type checkers accept good calls and refuse bad ones: tests/typing, read by mypy where it is."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_mypy_on_the_samples(tmp_path):
    """`make check` runs mypy on them, too."""
    pytest.importorskip("mypy")
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    top, *others = sorted(folders["package-dir"].items())
    assert top[0] == "gptneo_onnx"
    package = tmp_path / "gptneo_onnx"
    package.mkdir()
    for path in (ROOT / top[1]).iterdir():
        (package / path.name).symlink_to(path)
    for name, folder in others:
        if name.count(".") == 1:
            (package / name.partition(".")[2]).symlink_to(ROOT / folder)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir",
         tmp_path / "cache", *sorted((ROOT / "tests/typing").glob("*.py"))],
        env={"MYPYPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
