"""How much sooner a model writes its text when another precision of it drafts.

    python benchmarks/self_draft.py [--shape 1.3B] [--precision fp32,int4] [--rounds 5]

Widens the embedded model to a published shape (widened_checkpoint.py says how, and why random
weights do not do), exports it in two precisions into one directory, and has the first one write:
alone, and with the second one's drafts. The second one's own text is timed too. All take turns in
every round; each must write the same tokens in each round, and the first the same with and without
drafts. The table has the best and the median of all rounds, in tokens per second, and the median
of the rounds' ratios with the least and the greatest. It is printed, and written to
FOLDER/self-draft-SHAPE.md and .json.

Needs the `export` extra. The 1.3B shape takes 12 GB of disk and 8 GB of memory.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from random_checkpoint import SHAPES
from widened_checkpoint import TEXT, write_widened_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

WAYS = {
    "greedy": {"do_sample": False},
    "sampled (temperature 0.7, top_k 50)": {"do_sample": True, "temperature": 0.7, "seed": 1},
    "sampled from the whole vocabulary": {"do_sample": True, "top_k": 0, "seed": 1},
}
PROMPT = 128
Row = dict[str, Any]


def exported(folder: Path, shape: str, precisions: str) -> Path:
    """Return the export in both precisions; it is kept from run to run."""
    out = folder / f"widened-{shape}-{precisions.replace(',', '-')}"
    if not out.exists():
        checkpoint = folder / f"widened-{shape}"
        if not (checkpoint / "model.safetensors").exists():
            write_widened_checkpoint(checkpoint, shape)
        export_model(checkpoint, out, precision=precisions, progress=True)
    return out


def prompts_of(directory: Path, count: int) -> list[list[int]]:
    """Return pieces of a novel, far from each other."""
    ids = Tokenizer.from_pretrained(directory).encode(TEXT.read_text()[:300_000])
    step = len(ids) // count
    return [ids[start : start + PROMPT] for start in range(0, step * count, step)]


def measure(large: GPTNeoForCausalLM, names: list[str], way: Row, options: Any) -> Row:
    """Time one way of choosing tokens: rounds in which all contestants take turns."""
    contestants = {
        names[0]: (large, {}),
        f"{names[0]}, drafted by {names[1]}": (large, {"assistant_model": names[1]}),
        names[1]: (GPTNeoForCausalLM(large.engine.twin(names[1])), {}),
    }
    common = {"max_new_tokens": options.tokens, "eos_token_id": None, **way}
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    texts: dict[str, list[Any]] = {}
    prompts = prompts_of(large.engine.path, options.rounds)
    for model, assistance in contestants.values():  # the first call of each warms up
        model.generate([prompts[0]], **common | {"max_new_tokens": 8}, **assistance)
    for prompt in prompts:
        for name, (model, assistance) in contestants.items():
            started = time.perf_counter()
            ids = model.generate([prompt], **common, **assistance)
            speeds[name].append(options.tokens / (time.perf_counter() - started))
            texts.setdefault(name, []).append(ids.tolist())
    first, drafted, _ = texts.values()
    same = sum(one == other for one, other in zip(first, drafted, strict=True))
    plain, assisted, _ = speeds.values()
    ratios = sorted(other / one for one, other in zip(plain, assisted, strict=True))
    return {
        "speeds": speeds,
        "same_texts": same,
        "ratio": statistics.median(ratios),
        "ratios": [ratios[0], ratios[-1]],
    }


def table(shape: str, rows: dict[str, Row], rounds: int) -> str:
    lines: list[str] = []
    for way, row in rows.items():
        if not lines:
            names = " | ".join(row["speeds"])
            lines += [f"| tokens per second, {shape} shape | {names} | ratio | same texts |"]
            lines += ["|---|---|---|---|---|---|"]
        cells = [
            f"{statistics.median(speeds):.1f} (best {max(speeds):.1f})"
            for speeds in row["speeds"].values()
        ]
        low, high = row["ratios"]
        lines.append(
            f"| {way} | {' | '.join(cells)} | {row['ratio']:.2f} ({low:.2f} to {high:.2f}) "
            f"| {row['same_texts']} of {rounds} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="1.3B")
    parser.add_argument("--precision", default="fp32,int4", help="the model's and the draft's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    options = parser.parse_args()
    directory = exported(options.folder, options.shape, options.precision)
    names = options.precision.split(",")
    model = GPTNeoForCausalLM.from_pretrained(directory, num_threads=options.threads)
    rows = {title: measure(model, names, way, options) for title, way in WAYS.items()}
    text = table(options.shape, rows, options.rounds)
    print(text)
    stem = options.folder / f"self-draft-{options.shape}-{'-'.join(names)}"
    stem.with_name(f"{stem.name}.md").write_text(text + "\n")
    result = {"cores": os.cpu_count(), "options": {**vars(options)}, "rows": rows}
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(result, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
