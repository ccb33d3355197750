"""Speed of scoring texts for perplexity, beside the speed of reading them as prompts.

    python benchmarks/perplexity.py DIRECTORY ... [--rounds 5] [--threads 2]

In each round a model reads a prompt of 1024 tokens, as compare.py measures prefill, then one of its
context's length, and scores a window of that length. Figures are medians, and ratios are taken
within a round.

Needs exports of any kind; benchmarks/compare.py leaves some in build/benchmark. On two cores a
model of the 1.3B shape takes one to three minutes, one of the 125M shape 15 seconds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.evaluation.scoring import score
from gptneo_onnx.runtime.evaluation.windows import rolling_windows

PROMPT = 1024


def rate(tokens: int, run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return tokens / (time.perf_counter() - started)


def measure(directory: Path, threads: int, rounds: int) -> list[tuple[float, float, float]]:
    """Return the tokens per second of each round: prefill of PROMPT, of the context, scoring."""
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu", num_threads=threads)
    decoder, context = model.engine.decoder(slots=1), model.config.max_position_embeddings
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, context)
    windows = rolling_windows(ids, int(ids[0]), context)

    def prefill(length: int) -> None:
        decoder.cache.clear(0)
        decoder.prefill(0, ids[:length])

    def score_all() -> None:
        for _ in score(decoder, windows):
            pass

    prefill(context)  # warms up, as does the first scoring
    score_all()
    return [
        (
            rate(PROMPT, lambda: prefill(PROMPT)),
            rate(context, lambda: prefill(context)),
            rate(context, score_all),
        )
        for _ in tqdm(range(rounds), desc=directory.name)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", metavar="DIRECTORY")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rows = [
        f"| model | prefill of {PROMPT} | of the context | scoring | to the first, the second | |",
        "|---|" + "---|" * 5,
    ]
    for directory in options.models:
        rounds = measure(directory, options.threads, options.rounds)
        rates = [statistics.median(column) for column in zip(*rounds, strict=True)]
        ratios = [
            statistics.median(scoring / prefill for prefill, _, scoring in rounds),
            statistics.median(scoring / prefill for _, prefill, scoring in rounds),
        ]
        cells = [*(f"{value:.0f}" for value in rates), *(f"{value:.2f}" for value in ratios)]
        rows.append(f"| {directory.name} | {' | '.join(cells)} |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
