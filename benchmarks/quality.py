"""What each precision costs in quality: perplexity and divergence from float32 on a held-out novel.

    python benchmarks/quality.py [--model DIR] [--text FILE] [--calibrate FILE] [--windows 200]

The text is cut into windows of the model's context, each read by itself. The table goes to standard
output: perplexity, the mean Kullback-Leibler divergence of the next token's distribution from
float32's, and how often the likeliest token is the same.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

CORPUS = Path(__file__).parent.parent / "examples/train_tiny/corpus"
HELD_OUT, READ_BEFORE = CORPUS / "persuasion.txt", CORPUS / "emma.txt"
EXPORTS = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8"},
    "w8a8": {"precision": "w8a8"},
    "w8a8, 7-bit weights (`--reduce-range`)": {"precision": "w8a8", "reduce_range": True},
    "int4": {"precision": "int4"},
    "int8, float16 activations": {"precision": "int8", "activations": "fp16"},
    "int4, float16 activations": {"precision": "int4", "activations": "fp16"},
}
CALIBRATED = ("int8", "w8a8", "w8a8, 7-bit weights (`--reduce-range`)", "int4")


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def compare(
    exact: GPTNeoForCausalLM, other: GPTNeoForCausalLM, windows: NDArray[np.int64]
) -> tuple[float, float, float]:
    """(perplexity, divergence, agreement) of the other model."""
    loss = divergence = agreement = 0.0
    for window in windows:
        expected, found = (log_probabilities(model([window]).logits[0]) for model in (exact, other))
        loss -= found[np.arange(len(window) - 1), window[1:]].mean()
        divergence += (np.exp(expected) * (expected - found)).sum(-1).mean()
        agreement += (expected.argmax(-1) == found.argmax(-1)).mean()
    count = len(windows)
    return float(np.exp(loss / count)), divergence / count, agreement / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=EMBEDDED_CHECKPOINT)
    parser.add_argument("--text", type=Path, default=HELD_OUT)
    parser.add_argument("--calibrate", type=Path, default=READ_BEFORE)
    parser.add_argument("--windows", type=int, default=200)
    options = parser.parse_args()
    tokenizer = Tokenizer.from_pretrained(options.model)
    ids = np.array(tokenizer.encode(options.text.read_text(encoding="utf-8")))
    rows = [
        "| precision | size | perplexity | | divergence | same first choice |",
        "|---|" + "---|" * 5,
    ]
    exports = EXPORTS | {
        f"{title}, calibrated": EXPORTS[title] | {"calibrate": options.calibrate}
        for title in CALIBRATED
    }
    with tempfile.TemporaryDirectory() as folder:
        for index, (title, arguments) in enumerate(tqdm(exports.items())):
            directory = export_model(options.model, Path(folder) / str(index), **arguments)
            model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
            if index == 0:
                exact, context = model, model.config.max_position_embeddings
                count = min(options.windows, len(ids) // context)
                windows = ids[: count * context].reshape(count, context)
            perplexity, divergence, agreement = compare(exact, model, windows)
            if index == 0:
                least = perplexity
            size = (directory / "model.onnx_data").stat().st_size / 1e6
            rows.append(
                f"| {title} | {size:.1f} MB | {perplexity:.3f} | {perplexity / least - 1:+.2%} "
                f"| {divergence:.5f} | {agreement:.1%} |"
            )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
