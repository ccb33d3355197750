"""benchmarks/soak.py for a quarter of a minute: mixed load, and nothing lost or wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[3] / "benchmarks/soak.py"
# What is not drawn often enough for a short run to be sure of it is left out.
KINDS = ("bad", "burst", "drain", "leave", "look around", "read", "whole")


@pytest.mark.slow
def test_a_server_stands_mixed_load(embedded_export: Path) -> None:
    command = [sys.executable, SOAK, embedded_export, "--minutes", "0.25", "--clients", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^ *\d+ ([a-z ]+): ()", done.stdout, re.MULTILINE))
    assert counts.keys() >= {*KINDS}
    assert " read: right" in done.stdout
    assert " drain: right" in done.stdout
    assert re.search(r"^0 wrong of \d+$", done.stdout, re.MULTILINE)
