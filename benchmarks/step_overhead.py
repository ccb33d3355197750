"""The share of a decode step that is spent outside ONNX Runtime, in this project's own Python.

    python benchmarks/step_overhead.py [--models embedded 125M-fp32 125M-int8] [--rounds 5]

The embedded model and random weights of the 125M shape, in float32 and int8, continue batches of 1
and of 16 prompts of 128 tokens by 64 tokens with generate(), greedily and sampled. Both times of a
round are taken in the same call: ONNX Runtime's is measured around InferenceSession's
run_with_iobinding, and a step lasts from the start of one of its runs to the start of the next, so
that prefill and the preparation of a call do not count. Prints a table of milliseconds, each as
"best / median" over the rounds.

Needs the `export` extra for the first run, which writes 1.2 GB to the folder. Takes some five
minutes on two cores; nothing else may run meanwhile. It also runs on older checkouts of the
project, for comparison: give each a separate --folder.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from random_checkpoint import write_random_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.embedded import embedded_model

PROMPT, TOKENS = 128, 64
BATCHES = (1, 16)
MODELS = ("embedded", "125M-fp32", "125M-int8")
STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True, "top_k": 50, "seed": 1},
}


@dataclass(frozen=True)
class StepTime:
    """Seconds of a decode step, averaged over one call of generate()."""

    total: float
    inside: float  # ONNX Runtime

    @property
    def outside(self) -> float:
        return self.total - self.inside

    @property
    def share_outside(self) -> float:
        return self.outside / self.total


class TimedInference:
    """An onnxruntime.InferenceSession that records when each run starts and ends."""

    def __init__(self, inference: Any) -> None:
        self.inference = inference
        self.runs: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inference, name)

    def run_with_iobinding(self, *arguments: Any) -> None:
        started = time.perf_counter()
        self.inference.run_with_iobinding(*arguments)
        self.runs.append((started, time.perf_counter()))


@contextmanager
def timed_runs(model: GPTNeoForCausalLM, slots: int) -> Iterator[list[tuple[float, float]]]:
    """Time the runs of a model that has not been stepped yet; yields the list of its runs.

    The decode step that the decoder keeps goes on being timed afterwards.
    """
    # Before there was an Engine, the model itself had the decoder.
    decoder = getattr(model, "engine", model).decoder(slots)
    session = decoder.session
    timed = TimedInference(session.inference)
    decoder.session = replace(session, inference=timed)
    try:
        yield timed.runs
    finally:
        decoder.session = session


def exported(folder: Path, name: str) -> Path:
    """Return the directory of a model of MODELS; exports it if it is missing."""
    if name == "embedded":
        return embedded_model()
    shape, precision = name.split("-")
    out = folder / name
    if not out.exists():
        checkpoint = folder / shape
        if not (checkpoint / "model.safetensors").exists():
            write_random_checkpoint(checkpoint, shape)
        export_model(checkpoint, out, precision=precision, progress=True)
    return out


def step_time(
    model: GPTNeoForCausalLM, ids: Any, runs: list[tuple[float, float]], **arguments: Any
) -> StepTime:
    """Time the decode steps of one call of generate()."""
    runs.clear()
    model.generate(ids, max_new_tokens=TOKENS, eos_token_id=None, **arguments)
    # Prefill gives the first token: every other one takes a step, which ends as the next starts.
    steps = runs[-(TOKENS - 1) :]
    assert len(runs) > len(steps) == TOKENS - 1
    count = len(steps) - 1
    total = (steps[-1][0] - steps[0][0]) / count
    return StepTime(total, sum(ended - started for started, ended in steps[:-1]) / count)


def measure(directory: Path, batch: int, rounds: int, threads: int) -> dict[str, list[StepTime]]:
    """Return the times of every round, by strategy."""
    model = GPTNeoForCausalLM.from_pretrained(
        directory, device="cpu", slots=batch, num_threads=threads
    )
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (batch, PROMPT))
    times: dict[str, list[StepTime]] = {name: [] for name in STRATEGIES}
    with timed_runs(model, batch) as runs:
        step_time(model, ids, runs)  # warms up
        for _ in range(rounds):
            for name, arguments in STRATEGIES.items():
                times[name].append(step_time(model, ids, runs, **arguments))
    return times


def row(model: str, batch: int, strategy: str, times: list[StepTime]) -> str:
    """Return a line of the table."""
    cells = [
        best_and_median([1000 * step.total for step in times], ".3f"),
        best_and_median([1000 * step.inside for step in times], ".3f"),
        best_and_median([1000 * step.outside for step in times], ".3f"),
        best_and_median([step.share_outside for step in times], ".1%"),
    ]
    return f"| {model} | {batch} | {strategy} | {' | '.join(cells)} |"


def best_and_median(values: list[float], format_spec: str) -> str:
    return f"{min(values):{format_spec}} / {statistics.median(values):{format_spec}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    options = parser.parse_args()
    print(
        "| model | batch | tokens | ms per step | inside ONNX Runtime | outside | share outside |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name in options.models:
        directory = exported(options.folder, name)
        for batch in BATCHES:
            times = measure(directory, batch, options.rounds, options.threads)
            for strategy in STRATEGIES:
                print(row(name, batch, strategy, times[strategy]), flush=True)


if __name__ == "__main__":
    main()
