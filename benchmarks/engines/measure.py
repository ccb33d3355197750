"""Measures one engine in its own process, and prints the figures as a line of JSON.

    python benchmarks/engines/measure.py ENGINE DIRECTORY [--threads 2]
    python benchmarks/engines/measure.py ENGINE DIRECTORY --export CHECKPOINT [FORMAT]

benchmarks/compare.py runs it in the engine's environment, which needs only numpy besides the
engine. With --export it measures the export instead.
"""

import argparse
import importlib
import json
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

STARTED = time.perf_counter()

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def peak_bytes() -> int:
    """Return the peak resident memory; getrusage's includes the parent's from before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(
    name: str, directory: str, threads: int, prompts: list[int], batches: list[int]
) -> dict[str, float]:
    """Measure every figure of one engine: seconds, tokens per second and bytes."""
    module = importlib.import_module(f"{name}_engine")
    vocabulary = json.loads((Path(directory) / "config.json").read_text())["vocab_size"]
    random = np.random.default_rng(0)

    def ids(batch: int, length: int) -> np.ndarray:
        return random.integers(0, vocabulary, (batch, length))

    # Room for one sequence only, as the peak memory of a single sequence is compared.
    engine = module.Engine(directory, threads, slots=1)
    engine.prefill(ids(1, 16))
    engine.decode(ids(1, 1)[0])
    figures = {"first_token_seconds": time.perf_counter() - STARTED}

    def decode_speed(batch: int, length: int, steps: int) -> float:
        engine.prefill(ids(batch, length))
        engine.decode(ids(1, batch)[0])
        times = [seconds(lambda: engine.decode(ids(1, batch)[0])) for _ in range(steps)]
        return batch / statistics.median(times)

    for length in prompts:
        engine.prefill(ids(1, length))
        times = [seconds(lambda n=length: engine.prefill(ids(1, n))) for _ in range(3)]
        figures[f"prefill_{length}"] = length / statistics.median(times)
        figures[f"decode_{length}"] = decode_speed(1, length, 12)
    figures["peak_bytes"] = peak_bytes()
    for batch in batches:
        figures[f"decode_batch_{batch}"] = decode_speed(batch, prompts[0], 6)
    return figures


def measure_export(name: str, checkpoint: str, out: str, arguments: list[str]) -> dict[str, float]:
    """Export for one engine, and measure seconds and bytes."""
    module = importlib.import_module(f"{name}_engine")
    export_seconds = seconds(lambda: module.export(checkpoint, out, *arguments))
    return {"export_seconds": export_seconds, "export_peak_bytes": peak_bytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("directory")
    parser.add_argument("--export", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--batches", type=int, nargs="*", default=[4, 16])
    options = parser.parse_args()
    if options.export:
        checkpoint, *arguments = options.export
        figures = measure_export(options.engine, checkpoint, options.directory, arguments)
    else:
        figures = measure(
            options.engine, options.directory, options.threads, options.prompts, options.batches
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
