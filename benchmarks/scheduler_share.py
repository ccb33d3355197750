"""The share of a scheduler's turn that is spent outside ONNX Runtime.

    python benchmarks/scheduler_share.py [--models 125M-w8a8 125M-fp32] [--rounds 5]

Random weights of the 125M shape (vocabulary 50257) serve 1, 4 and 16 requests at once, each with a
prompt of 32 tokens and 64 new ones: greedy, sampled from the whole distribution, and sampled with a
temperature and top_p. ONNX Runtime's time is measured around InferenceSession's run_with_iobinding,
and a turn lasts from the start of one decode step to the start of the next, once all requests run:
what it has besides is the scheduler's own. Prints a table of milliseconds, each as "best / median"
over the rounds; threads that wait for tokens are part of the process, as a server's are.

Needs the `export` extra for the first run, which writes 1.2 GB to the folder. Nothing else may run
meanwhile.
"""

import argparse
import threading
from pathlib import Path
from typing import Any

import numpy as np
from step_overhead import StepTime, exported, row, timed_runs

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import Scheduler, SchedulerSettings, TokenStream

PROMPT, TOKENS = 32, 64
SLOTS = (1, 4, 16)
MODELS = ("125M-w8a8", "125M-fp32", "125M-int8", "embedded")
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled, all tokens": {"do_sample": True, "temperature": 1.0, "top_k": 0},
    "sampled, 0.8, top_p 0.95": {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0},
}


def turn_time(
    scheduler: Scheduler, prompts: Any, runs: list[tuple[float, float]], **way: Any
) -> StepTime:
    """Time the turns in which all requests of some prompts run."""
    runs.clear()
    steps = scheduler.statistics.steps
    streams = [
        scheduler.submit(
            input_ids=[prompt], max_new_tokens=TOKENS, eos_token_id=None, seed=index, **way
        )
        for index, prompt in enumerate(prompts)
    ]
    readers = [threading.Thread(target=_read, args=(stream,)) for stream in streams]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert scheduler.statistics.steps - steps >= TOKENS - 1
    # At the end the first requests have finished; at the beginning the last ones are being read.
    last = max(stream.statistics.first_token or 0.0 for stream in streams)
    first = min(stream.statistics.finished or 0.0 for stream in streams)
    full = [run for run in runs if last <= run[0] and run[1] <= first]
    count = len(full) - 1
    total = (full[-1][0] - full[0][0]) / count
    return StepTime(total, sum(ended - started for started, ended in full[:-1]) / count)


def _read(stream: TokenStream) -> None:
    for _ in stream:
        pass


def measure(directory: Path, slots: int, rounds: int, threads: int) -> dict[str, list[StepTime]]:
    """Return the times of every round, by way."""
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu", num_threads=threads)
    prompts = np.random.default_rng(0).integers(0, model.config.vocab_size, (slots, PROMPT))
    times: dict[str, list[StepTime]] = {name: [] for name in WAYS}
    settings = SchedulerSettings(slots=slots, max_step_seconds=10.0, prefix_cache_bytes=0)
    model.engine.decoder(slots + 2)
    with timed_runs(model, slots + 2) as runs, Scheduler(model, settings) as scheduler:
        turn_time(scheduler, prompts, runs)  # warms up
        for _ in range(rounds):
            for name, way in WAYS.items():
                times[name].append(turn_time(scheduler, prompts, runs, **way))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS[:2])
    parser.add_argument("--slots", nargs="+", type=int, default=SLOTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    options = parser.parse_args()
    print(
        "| model | requests | way | ms per turn | inside ONNX Runtime | outside | share outside |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name in options.models:
        directory = exported(options.folder, name)
        for slots in options.slots:
            times = measure(directory, slots, options.rounds, options.threads)
            for way in WAYS:
                print(row(name, slots, way, times[way]), flush=True)


if __name__ == "__main__":
    main()
