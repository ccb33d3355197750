"""The cost of an export: its time beside that of a plain copy of the checkpoint, and peak memory.

    python benchmarks/export.py 1.3B [--precision fp32] [--folder build/benchmark] [--rounds 3]

Writes a random checkpoint of the published shape. Copy and export alternate; medians are compared.
Both end when the bytes are on the disk.

Needs the `export` extra and disk for checkpoint, copy and export: 16 GB at 1.3B in fp32, where a
run takes a few minutes, depending on the disk.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from random_checkpoint import SHAPES, write_random_checkpoint

_EXPORT = """
import resource, sys
from gptneo_onnx.export import export_model
export_model(sys.argv[1], sys.argv[2], precision=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def copy_seconds(source: Path, target: Path) -> float:
    """Time a copy that reaches the disk; removes it afterwards."""
    started = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


def export_cost(checkpoint: Path, out: Path, precision: str) -> tuple[float, int]:
    """Export in its own process; return the seconds and its peak resident bytes."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _EXPORT, str(checkpoint), str(out), precision],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, int(done.stdout.split()[-1]) * unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkpoint = write_random_checkpoint(options.folder / options.shape, options.shape)
    weights = checkpoint / "model.safetensors"
    out = options.folder / f"{options.shape}-{options.precision}"
    copies, exports, peaks = [], [], []
    for _ in range(options.rounds):
        copies.append(copy_seconds(weights, options.folder / "copy"))
        seconds, peak = export_cost(checkpoint, out, options.precision)
        exports.append(seconds)
        peaks.append(peak)
    copied, exported = statistics.median(copies), statistics.median(exports)
    print(
        f"{options.shape} {options.precision}: {weights.stat().st_size / 1e9:.2f} GB checkpoint, "
        f"copy {copied:.1f} s, export {exported:.1f} s ({exported / copied:.2f} times), "
        f"peak memory {max(peaks) / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
