"""Time to the first token of prompts that begin alike, and what it costs to keep what they share.

    python benchmarks/prefix_reuse.py [--models 125M-w8a8 125M-fp32] [--shared 512 1024]

Random weights of the 125M shape (vocabulary 50257). A prompt of some shared tokens and 32 others
goes to a scheduler that is idle: one that keeps nothing, and one that has read another prompt with
the same beginning. Prints a table of milliseconds, each as "best / median" over the rounds.

A second table has the parts: reading a prompt token by chunks of 256, keeping its keys and values,
putting them back, and handing them over to the request's slot, in microseconds a token.

Needs the `export` extra for the first run, which writes 1.2 GB to the folder. Nothing else may run
meanwhile.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from step_overhead import exported

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import Scheduler, SchedulerSettings
from gptneo_onnx.runtime.scheduling.prefix_store import PrefixStore

MODELS = ("125M-w8a8", "125M-fp32", "125M-int8", "125M-int4", "embedded")
NEW = 32
Ids = NDArray[np.int64]


def first_token_seconds(scheduler: Scheduler, ids: Ids) -> tuple[float, int]:
    """Return how long a prompt's first token took, and how many of its tokens were reused."""
    stream = scheduler.submit(input_ids=[ids], max_new_tokens=1)
    for _ in stream:
        pass
    statistics = stream.statistics
    assert statistics.first_token is not None
    return statistics.first_token - statistics.arrived, statistics.cached_tokens


def first_tokens(
    model: GPTNeoForCausalLM, shared: int, rounds: int, random: np.random.Generator
) -> tuple[list[float], list[float], int]:
    """Return the times without and with reuse, and how many tokens were reused."""
    without, reusing, reused = [], [], 0
    keeps_nothing = SchedulerSettings(slots=1, prefix_cache_bytes=0)
    with Scheduler(model, keeps_nothing) as plain, Scheduler(model, _one_slot()) as keeping:
        for _ in range(rounds + 1):
            beginning = drawn(model, shared, random)
            prompts = [np.concatenate([beginning, drawn(model, NEW, random)]) for _ in range(2)]
            without.append(first_token_seconds(plain, prompts[1])[0])
            first_token_seconds(keeping, prompts[0])
            seconds, reused = first_token_seconds(keeping, prompts[1])
            reusing.append(seconds)
    return without[1:], reusing[1:], reused  # the first warms up


def parts(
    model: GPTNeoForCausalLM, length: int, rounds: int, random: np.random.Generator
) -> dict[str, list[float]]:
    """Return the seconds of each part of the work on a prompt."""
    times: dict[str, list[float]] = {}
    with model.engine.exclusive():
        decoder = model.engine.decoder(slots=3)
        cache, chunk = decoder.cache, decoder.prefill_chunk
        order = np.array([2, 1, 2])
        for _ in range(rounds + 1):
            ids = drawn(model, length, random)
            store = PrefixStore(1 << 32)
            path = store.begin(ids)
            cache.clear(2)
            reading = keeping = 0.0
            for start in range(0, length, chunk):
                part = ids[start : start + chunk]
                reading += seconds(lambda part=part: decoder.prefill(2, part))
                keeping += seconds(lambda path=path: path.extend(cache, 2))
            restoring = seconds(lambda path=path: path.restore(cache, 1, path.known))
            handing = seconds(lambda: cache.reorder(order))
            path.close()
            for name, value in (
                ("reading", reading),
                ("keeping", keeping),
                ("putting back", restoring),
                ("handing over", handing),
            ):
                times.setdefault(name, []).append(value)
    return {name: values[1:] for name, values in times.items()}


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def drawn(model: GPTNeoForCausalLM, length: int, random: np.random.Generator) -> Ids:
    """Draw a text's ids."""
    return random.integers(0, model.config.vocab_size, length)


def shown(values: list[float], scale: float) -> str:
    """Return the best and the median."""
    return f"{min(values) * scale:.1f} / {float(np.median(values)) * scale:.1f}"


def _one_slot() -> SchedulerSettings:
    return SchedulerSettings(slots=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS[:2])
    parser.add_argument("--shared", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    options = parser.parse_args()
    random = np.random.default_rng(0)
    rows = []
    print(
        f"| model | shared tokens, {NEW} others | reused | ms without reuse | with it | times |\n"
        "|---|---|---|---|---|---|"
    )
    for name in options.models:
        directory = exported(options.folder, name)
        model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", num_threads=options.threads)
        for shared in options.shared:
            without, reusing, reused = first_tokens(model, shared, options.rounds, random)
            gain = np.median(without) / np.median(reusing)
            print(
                f"| {name} | {shared} | {reused} | {shown(without, 1e3)} | {shown(reusing, 1e3)} "
                f"| {gain:.1f} |",
                flush=True,
            )
        longest = max(options.shared)
        times = parts(model, longest, options.rounds, random)
        share = np.median(times["keeping"]) / np.median(times["reading"])
        cells = [shown(values, 1e6 / longest) for values in times.values()]
        rows.append(f"| {name} | {' | '.join(cells)} | {share:.1%} |")
    print("\n| model | reading | keeping | putting back | handing over | keeping's share |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
