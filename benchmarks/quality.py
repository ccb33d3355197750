"""The quality of each precision: perplexity on a held-out novel, and divergence from float32.

    python benchmarks/quality.py [--model DIR] [--text FILE] [--calibrate FILE] [--characters N]
                                 [--folder DIR] [--only TITLE]

By default with the embedded model, which was not trained on the text (*Persuasion*); calibrated
exports read another novel first. Prints a table: perplexity, the mean Kullback-Leibler divergence
of the next token's distribution from float32's, and how often the likeliest token is the same
(`gptneo-onnx compare` prints the same figures for any two models).

Needs the `export` extra. Takes several minutes on two cores for the embedded model. Exports are
temporary, or kept in --folder and taken from there again. benchmarks/only_avx2.c measures a
processor without VNNI on one that has it.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

from tqdm import tqdm

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.documents import Document
from gptneo_onnx.runtime.evaluation.comparison import compare

CORPUS = Path(__file__).parent.parent / "examples/train_tiny/corpus"
HELD_OUT, READ_BEFORE = CORPUS / "persuasion.txt", CORPUS / "emma.txt"
EXPORTS = {
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8"},
    "w8a8 (7-bit weights, the default)": {"precision": "w8a8"},
    "w8a8 (`--full-range`)": {"precision": "w8a8", "full_range": True},
    "int4": {"precision": "int4"},
    "int8, float16 activations": {"precision": "int8", "activations": "fp16"},
    "int4, float16 activations": {"precision": "int4", "activations": "fp16"},
}
CALIBRATED = ("int8", "w8a8 (7-bit weights, the default)", "w8a8 (`--full-range`)", "int4")


def row(title: str, directory: Path, perplexity: float, *cells: str) -> str:
    """Return a line of the table: title, size of the weights, perplexity, and further cells."""
    size = (directory / "model.onnx_data").stat().st_size / 1e6
    return f"| {title} | {size:.1f} MB | {perplexity:.3f} | {' | '.join(cells)} |"


def kept(directory: Path, arguments: dict[str, object], model: Path) -> Path:
    """Return a directory that was exported with these arguments, now or before."""
    return directory if directory.exists() else export_model(model, directory, **arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=EMBEDDED_CHECKPOINT)
    parser.add_argument("--text", type=Path, default=HELD_OUT)
    parser.add_argument("--calibrate", type=Path, default=READ_BEFORE)
    parser.add_argument(
        "--characters", type=int, default=400_000, help="of the text, from its start"
    )
    parser.add_argument("--folder", help="keep the exports there")
    parser.add_argument("--only", default="", help="rows whose titles begin so, as w8a8")
    options = parser.parse_args()
    tokenizer = Tokenizer.from_pretrained(options.model)
    text = options.text.read_text(encoding="utf-8")[: options.characters]
    document = Document(text, options.text.name)
    exports = EXPORTS | {
        f"{title}, calibrated": EXPORTS[title] | {"calibrate": options.calibrate}
        for title in CALIBRATED
    }
    exports = {title: made for title, made in exports.items() if title.startswith(options.only)}
    rows = [
        "| precision | size | perplexity | | divergence | same first choice |",
        "|---|" + "---|" * 5,
    ]
    temporary = tempfile.TemporaryDirectory() if options.folder is None else None
    with temporary or contextlib.nullcontext(options.folder) as folder:
        exact = kept(Path(folder) / "fp32", {}, options.model)
        model = GPTNeoForCausalLM.from_pretrained(exact, device="cpu")
        for index, (title, arguments) in enumerate(tqdm(exports.items())):
            directory = kept(Path(folder) / title.replace(" ", "-"), arguments, options.model)
            other = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
            comparison = compare(model, other, tokenizer, [document], largest=0)
            if index == 0:
                rows.append(row("fp32", exact, comparison.token_perplexity[0], "", "", ""))
            change, error = comparison.perplexity_change
            rows.append(
                row(
                    title,
                    directory,
                    comparison.token_perplexity[1],
                    f"{change:+.2%} ± {error:.2%}",
                    f"{comparison.divergences.mean():.5f}",
                    f"{comparison.agrees.mean():.1%}",
                )
            )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
