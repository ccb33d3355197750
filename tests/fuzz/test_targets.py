"""Every fuzz target takes its good inputs, and what once failed is refused or read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import FUZZ_FOLDER, kept_inputs, target_names

WORKER = FUZZ_FOLDER.parent / "support/fuzz_worker.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", target_names())
def test_seeds_and_kept_inputs(name: str, tmp_path: Path) -> None:
    """`make fuzz` draws further inputs."""
    command = [sys.executable, str(WORKER), name, str(tmp_path), "--kept"]
    process = subprocess.run(command, capture_output=True, text=True, errors="replace")
    reports = [path.read_text() for path in tmp_path.glob("found-*.txt")]
    assert process.returncode == 0, process.stderr
    assert reports == []
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["inputs"] - figures["refused"] > 0, "no seed is read"
    assert figures["inputs"] > len(kept_inputs(name))
