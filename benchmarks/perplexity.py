"""How fast texts are scored, beside how fast they are read: perplexity to prefill.

    python benchmarks/perplexity.py DIRECTORY ... [--rounds 5]

For exports of any kind (`benchmarks/compare.py` leaves some in build/benchmark). In each round each
model reads a prompt of 1024 tokens, as compare.py measures prefill, one of its context's length,
and scores a window of that length; the figures are medians, and ratios those of the same round.
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


def measured(directory: Path, threads: int, rounds: int) -> list[tuple[float, float, float]]:
    """(prefill of PROMPT, prefill of the context, scoring) in tokens per second, of each round."""
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu", num_threads=threads)
    decoder, context = model.engine.decoder(slots=1), model.config.max_position_embeddings
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, context)
    windows = rolling_windows(ids, int(ids[0]), context)

    def prefill(length: int) -> None:
        decoder.cache.clear(0)
        decoder.prefill(0, ids[:length])

    def scored() -> None:
        for _ in score(decoder, windows):
            pass

    each = ((PROMPT, lambda: prefill(PROMPT)), (context, lambda: prefill(context)))
    prefill(context)
    scored()
    return [
        (*(rate(*one) for one in each), rate(context, scored))
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
        found = measured(directory, options.threads, options.rounds)
        rates = [statistics.median(column) for column in zip(*found, strict=True)]
        ratios = [statistics.median(each[2] / each[i] for each in found) for i in (0, 1)]
        cells = [*(f"{value:.0f}" for value in rates), *(f"{value:.2f}" for value in ratios)]
        rows.append(f"| {directory.name} | {' | '.join(cells)} |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
