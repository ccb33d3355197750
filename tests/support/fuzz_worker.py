"""Runs inputs of one fuzz target in a separate process, under limits.

    python fuzz_worker.py NAME FOLDER --seconds N --seed S      # drawn inputs
    python fuzz_worker.py NAME FOLDER --kept                    # the seeds, and what failed once

Writes each input to FOLDER/current before it runs it, so that it is there after a crash. What a
run raises besides GPTNeoOnnxError is written to FOLDER/found-HASH with its traceback in
FOLDER/found-HASH.txt, each place once. FOLDER/figures.json tells what was run.
Where atheris is installed, its coverage of gptneo_onnx guides what is drawn.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import importlib.util
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzzing import Target, kept_inputs, load_target, mutate_bytes

MAX_BYTES = 2 * 1024**3
MAX_SECONDS = 20
MAX_INPUT_BYTES = 1024 * 1024


@dataclass
class Figures:
    """What was run: inputs, how many were refused, the slowest (seconds), the memory (bytes)."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    peak_bytes: int = 0


class Worker:
    """Runs inputs, and records what they do."""

    def __init__(self, target: Target, folder: Path) -> None:
        from gptneo_onnx.models import GPTNeoOnnxError  # not before its code is instrumented

        self.refusals = GPTNeoOnnxError
        self.target = target
        self.folder = folder
        self.figures = Figures()
        self.found: set[str] = set()
        self.written = 0.0

    def run(self, data: bytes) -> None:
        """Run one input; the process ends if that takes too long."""
        (self.folder / "current").write_bytes(data)
        scratch = Path(tempfile.mkdtemp(dir=self.folder))
        start = time.monotonic()
        faulthandler.dump_traceback_later(MAX_SECONDS, exit=True)
        try:
            self.target.run(data, scratch)
        except self.refusals:
            self.figures.refused += 1
        except BaseException as error:  # a panic of Rust is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            self._keep(data, error)
        finally:
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(scratch, ignore_errors=True)
        now = time.monotonic()
        self.figures.inputs += 1
        self.figures.slowest = max(self.figures.slowest, now - start)
        if now > self.written + 1:
            self.write_figures()
            self.written = now

    def write_figures(self) -> None:
        self.figures.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        (self.folder / "figures.json").write_text(json.dumps(asdict(self.figures)))

    def _keep(self, data: bytes, error: BaseException) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} {frame.filename}:{frame.lineno}"
        if place in self.found:
            return
        self.found.add(place)
        name = f"found-{hashlib.sha256(data).hexdigest()[:12]}"
        (self.folder / name).write_bytes(data)
        with (self.folder / f"{name}.txt").open("w", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)


def draw(worker: Worker, seconds: float, seed: int) -> None:
    """Run drawn inputs for that long."""
    source, seeds = random.Random(seed), worker.target.seeds()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = worker.target.mutate(source, source.choice(seeds), seeds)
        worker.run(data[:MAX_INPUT_BYTES])


def draw_guided(worker: Worker, seconds: float, seed: int) -> None:
    """Run inputs that atheris draws: those that reach new code are drawn from again."""
    import atheris

    seeds = worker.target.seeds()
    corpus = worker.folder / "reached"
    corpus.mkdir(exist_ok=True)
    for index, data in enumerate(seeds):
        (corpus / f"seed-{index}").write_bytes(data)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        source = random.Random(seed)
        if source.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        try:
            return worker.target.mutate(source, data, seeds)[:max_size]
        except Exception:  # it changes well-formed inputs, and this one may be damaged
            return mutate_bytes(source, data, seeds)[:max_size]

    options = [
        f"-max_total_time={int(seconds)}", f"-seed={seed % 2**31 or 1}", f"-timeout={MAX_SECONDS}",
        f"-max_len={MAX_INPUT_BYTES}", "-rss_limit_mb=0",
        f"-artifact_prefix={worker.folder}/crash-", "-print_final_stats=0",
        "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], worker.run, custom_mutator=mutate)
    atheris.Fuzz()


def instrumented() -> contextlib.AbstractContextManager[object]:
    """Return the context to import the target in: atheris counts what code of ours is reached."""
    if importlib.util.find_spec("atheris") is None:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=["gptneo_onnx"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with instrumented():
        worker = Worker(load_target(options.name), options.folder)
        if options.kept:
            seeds = worker.target.seeds()
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    try:
        if options.kept:
            for data in (*seeds, *(path.read_bytes() for path in kept_inputs(options.name))):
                worker.run(data)
        elif importlib.util.find_spec("atheris") is None:
            draw(worker, options.seconds, options.seed)
        else:
            draw_guided(worker, options.seconds, options.seed)
    finally:
        worker.write_figures()


if __name__ == "__main__":
    main()
