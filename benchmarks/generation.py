"""The time that decoding strategies take or save: sampling, prompt lookup and draft models.

    python benchmarks/generation.py [--large] [--folder build/benchmark] [--rounds 5]

Writes random checkpoints of the published shapes and exports them. Every measurement alternates
with the one that it is compared with, in one run; medians are compared. --large adds a draft model
for the 1.3B shape. The table is printed, and written to FOLDER/generation.md and .json.

Needs the `export` extra. Takes some five minutes on two cores and 1 GB of disk; --large takes ten
minutes more and 11 GB.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from random_checkpoint import VOCABULARY, write_draft_pair, write_random_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.embedded import embedded_model
from gptneo_onnx.runtime.generation.call import prepare_call
from gptneo_onnx.runtime.generation.generate import growing_sequences
from gptneo_onnx.runtime.generation.strategies.hooks import process_scores

BATCH, PROMPT, TOKENS = 16, 128, 64
WARPERS = {
    "do_sample (top_k 50)": {},
    "temperature 0.7, top_k 50, top_p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "the same, repetition_penalty 1.2, no_repeat_ngram_size 3": {
        "temperature": 0.7,
        "top_p": 0.9,
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
    },
    "top_p 0.9 of the whole vocabulary": {"top_k": 0, "top_p": 0.9},
    "the whole vocabulary": {"top_k": 0},
}
Row = dict[str, Any]


def exported(folder: Path, shape: str) -> Path:
    out = folder / f"{shape}-fp32"
    if not out.exists():
        export_model(write_random_checkpoint(folder / shape, shape), out, progress=True)
    return out


def seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def compare(plain: Callable[[], Any], other: Callable[[], Any], rounds: int) -> Row:
    """Time two calls alternately; return medians, and the spread of their ratio over the rounds."""
    plain(), other()  # the first of each warms up
    pairs = [(seconds(plain), seconds(other)) for _ in range(rounds)]
    ratios = sorted(plain_time / other_time for plain_time, other_time in pairs)
    return {
        "plain": statistics.median(plain_time for plain_time, _ in pairs),
        "other": statistics.median(other_time for _, other_time in pairs),
        "ratio": statistics.median(ratios),
        "ratios": [ratios[0], ratios[-1]],
    }


def sampling_rows(model: GPTNeoForCausalLM, rounds: int) -> list[Row]:
    """Processors and draw of a batch, beside the decode step that they follow."""
    random = np.random.default_rng(0)
    decoder = model.engine.decoder(BATCH)
    for slot in range(BATCH):
        decoder.cache.clear(slot)
        decoder.prefill(slot, random.integers(0, VOCABULARY, PROMPT))
    active = np.ones(BATCH, bool)
    logits = decoder.decode(random.integers(0, VOCABULARY, BATCH), active).copy()
    logits *= 3 / logits.std()  # as spread as a trained model's
    rows = []
    for name, arguments in WARPERS.items():
        ids = random.integers(0, VOCABULARY, (BATCH, PROMPT))
        sampling = {"do_sample": True, "seed": 1, **arguments}
        call = prepare_call(model.engine, model.generation_config, input_ids=ids, **sampling)
        sequences = growing_sequences(call)

        def choose(call: Any = call, sequences: Any = sequences) -> None:
            rows = np.split(logits, BATCH)
            scores = process_scores(sequences, rows, call.hooks)
            for sequence, [row] in zip(sequences, scores, strict=True):
                sequence.choose(row)

        def decode() -> None:
            decoder.decode(random.integers(0, VOCABULARY, BATCH), active)

        row = compare(decode, choose, 5 * rounds)
        rows.append({"what": name, "decode": row["plain"], "choose": row["other"]})
    return rows


def assisted_row(
    name: str, model: GPTNeoForCausalLM, ids: Any, rounds: int, assistance: Row, **arguments: Any
) -> Row:
    """Compare generation with and without assistance; both must give the same tokens."""
    common = {"max_new_tokens": TOKENS, "eos_token_id": None, **arguments}
    plain = model.generate(ids, **common)
    assert model.generate(ids, **common, **assistance).tolist() == plain.tolist(), name
    row = compare(
        lambda: model.generate(ids, **common),
        lambda: model.generate(ids, **common, **assistance),
        rounds,
    )
    tokens = common["max_new_tokens"]
    return {
        "what": name,
        "plain": tokens / row["plain"],
        "assisted": tokens / row["other"],
        "ratio": row["ratio"],
        "ratios": row["ratios"],
    }


def lookup_rows(model: GPTNeoForCausalLM, rounds: int) -> list[Row]:
    """Measure prompt lookup: text on the embedded model, and forced extremes on the 125M shape."""
    lookup = {"prompt_lookup_num_tokens": 10}
    directory = embedded_model()
    embedded, tokenizer = (
        GPTNeoForCausalLM.from_pretrained(directory),
        Tokenizer.from_pretrained(directory),
    )
    text = "It is a truth universally acknowledged, that"
    prompt = tokenizer(text, return_tensors="np").input_ids
    random = np.random.default_rng(3)
    allowed = np.sort(random.choice(VOCABULARY, 20, replace=False))
    suppressed = np.setdiff1d(np.arange(VOCABULARY), allowed).tolist()
    repeating = np.tile(random.integers(0, VOCABULARY, 16), (1, 4))
    sampled = {"do_sample": True, "top_k": 0, "seed": 2}
    return [
        assisted_row(
            "embedded model, greedy (repeats itself)", embedded, prompt, rounds, lookup,
            max_new_tokens=300,
        ),
        assisted_row(
            "embedded model, sampled (hardly does)", embedded, prompt, rounds, lookup,
            max_new_tokens=300, **sampled,
        ),
        assisted_row(
            "125M shape, made to repeat itself", model, repeating, rounds, lookup,
            prefix_allowed_tokens_fn=lambda row, ids: [int(ids[-repeating.shape[1]])],
        ),
        assisted_row("125M shape, greedy", model, repeating, rounds, lookup),
        assisted_row(
            "125M shape, nothing recurs", model, repeating, rounds, lookup, no_repeat_ngram_size=1
        ),
        assisted_row(
            "125M shape, 20 tokens at random (every guess looks good, few are)",
            model, allowed[None], rounds, lookup, suppress_tokens=suppressed, **sampled,
        ),
    ]  # fmt: skip


def draft_rows(folder: Path, rounds: int) -> list[Row]:
    """Measure the 1.3B shape with a draft that mostly agrees with it, and one that never does."""
    checkpoints = [folder / "1.3B-like-its-draft", folder / "draft-of-two-layers"]
    outs = [path.with_name(f"{path.name}-fp32") for path in checkpoints]
    if not all(out.exists() for out in outs):
        write_draft_pair(*checkpoints, "1.3B", layers=2)
        for path, out in zip(checkpoints, outs, strict=True):
            export_model(path, out, progress=True)
    target, related = map(GPTNeoForCausalLM.from_pretrained, outs)
    unrelated = GPTNeoForCausalLM.from_pretrained(exported(folder, "125M"))
    ids = np.random.default_rng(4).integers(0, VOCABULARY, (1, PROMPT))
    different = {"no_repeat_ngram_size": 1}  # greedily, random weights repeat one token for ever
    return [
        assisted_row(
            "1.3B shape, a draft of its first two layers",
            target, ids, rounds,
            {"assistant_model": related, "assistant_confidence_threshold": 0.0}, **different,
        ),
        assisted_row(
            "1.3B shape, an unrelated draft of the 125M shape",
            target, ids, rounds,
            {"assistant_model": unrelated, "assistant_confidence_threshold": 0.0}, **different,
        ),
    ]  # fmt: skip


def table(sampling: list[Row], assisted: list[Row]) -> str:
    lines = [
        f"| batch {BATCH}, 125M shape, vocabulary {VOCABULARY} | decode step | choosing | share |",
        "|---|---|---|---|",
    ]
    for row in sampling:
        decode, choose = 1000 * row["decode"], 1000 * row["choose"]
        lines.append(
            f"| {row['what']} | {decode:.1f} ms | {choose:.1f} ms | {choose / decode:.0%} |"
        )
    lines += ["", "| tokens per second | plain | assisted | ratio (of each round) |"]
    lines += ["|---|---|---|---|"]
    for row in assisted:
        low, high = row["ratios"]
        lines.append(
            f"| {row['what']} | {row['plain']:.1f} | {row['assisted']:.1f} "
            f"| {row['ratio']:.2f} ({low:.2f} to {high:.2f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = GPTNeoForCausalLM.from_pretrained(exported(options.folder, "125M"))
    sampling = sampling_rows(model, options.rounds)
    assisted = lookup_rows(model, options.rounds)
    if options.large:
        assisted += draft_rows(options.folder, options.rounds)
    text = table(sampling, assisted)
    print(text)
    (options.folder / "generation.md").write_text(text + "\n")
    result = {"cores": os.cpu_count(), "sampling": sampling, "assisted": assisted}
    (options.folder / "generation.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
