"""Speed of feature extraction from short texts, beside transformers on PyTorch.

    .venv-peers/bin/python benchmarks/features.py CHECKPOINT EXPORT ... [--texts 256] [--rounds 5]

The texts are random ids of 4 to 64 tokens, whose last hidden states are averaged. transformers
reads them in batches of 16 of similar length, padded on the right; exports are read as by
`gptneo-onnx embed`. In each round the engines run in turn; figures are medians, and ratios are
taken within a round.

Needs torch and transformers (`make test-peers` makes the environment), a checkpoint and exports of
it, such as those that benchmarks/compare.py leaves in build/benchmark. Takes two minutes for two
exports of the 125M shape on two cores, and four at 1.3B with --texts 64 --rounds 3.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tqdm import tqdm

from gptneo_onnx.runtime import GPTNeoModel

BATCH, LENGTHS = 16, (4, 64)

Sequences = list[NDArray[np.int64]]
Means = NDArray[np.float32]


def by_transformers(model: torch.nn.Module, sequences: Sequences) -> Means:
    """Return the mean hidden state of each sequence, [sequences, hidden]."""
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    means: dict[int, Means] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        unpadded = [torch.from_numpy(sequences[index]) for index in batch]
        ids = torch.nn.utils.rnn.pad_sequence(unpadded, batch_first=True)
        lengths = torch.tensor([[len(sequence)] for sequence in unpadded])
        mask = torch.arange(ids.shape[1]) < lengths
        with torch.no_grad():
            states = model(ids, attention_mask=mask.long()).last_hidden_state
        pooled = (states * mask[..., None]).sum(1) / lengths
        means.update(zip(batch, pooled.numpy(), strict=True))
    return np.stack([means[index] for index in range(len(order))])


def by_export(model: GPTNeoModel, sequences: Sequences) -> Means:
    """Return the mean hidden state of each sequence, [sequences, hidden]."""
    states = dict(model.of_sequences(sequences, batch_size=BATCH))
    return np.stack([states[index].mean(axis=0) for index in range(len(sequences))])


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("exports", type=Path, nargs="+", metavar="EXPORT")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    original = transformers.GPTNeoModel.from_pretrained(options.checkpoint, dtype=torch.float32)
    original.eval()
    random = np.random.default_rng(0)
    lengths = random.integers(*LENGTHS, options.texts, endpoint=True)
    sequences = [random.integers(0, original.config.vocab_size, length) for length in lengths]
    engines: dict[str, Callable[[], Means]] = {
        "transformers": lambda: by_transformers(original, sequences)
    }
    for directory in options.exports:
        model = GPTNeoModel.from_pretrained(directory, num_threads=options.threads, device="cpu")
        engines[directory.name] = lambda model=model: by_export(model, sequences)
    expected = engines["transformers"]()
    errors = {
        name: np.abs(run() - expected).max() / expected.std() for name, run in engines.items()
    }
    rounds = [
        {name: seconds(run) for name, run in engines.items()} for _ in tqdm(range(options.rounds))
    ]
    print("| | texts per second | times as fast | largest difference |\n|---|---|---|---|")
    for name in engines:
        speed = options.texts / statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times["transformers"] / times[name] for times in rounds)
        print(f"| {name} | {speed:.1f} | {ratio:.2f} | {errors[name]:.1e} |")


if __name__ == "__main__":
    main()
