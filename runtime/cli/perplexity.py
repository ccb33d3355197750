"""The command `gptneo-onnx perplexity`: from its options to what it prints."""

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.manifest import sha256_of
from gptneo_onnx.runtime.cli.device_options import add_device, add_file_name, load_model
from gptneo_onnx.runtime.cli.document_options import add_documents, documents_of
from gptneo_onnx.runtime.documents import STANDARD_INPUT, counted

if TYPE_CHECKING:
    from gptneo_onnx.runtime.evaluation.perplexity import Perplexity


def add_perplexity(commands: Any) -> None:
    """The command and its options."""
    command = commands.add_parser(
        "perplexity", help="how well a model predicts texts, by either of two definitions"
    )
    command.add_argument("model", type=Path, metavar="MODEL")
    add_documents(command)
    command.add_argument(
        "--protocol",
        default="rolling",
        choices=["rolling", "card"],
        help="rolling: as lm-evaluation-harness; card: as the figures of GPT-Neo's model card",
    )
    command.add_argument(
        "--stride",
        type=int,
        metavar="N",
        help="tokens that each window scores, with as many as fit before them (the context)",
    )
    command.add_argument(
        "--detokenize",
        choices=["wikitext"],
        help="Wikitext's pages as text, words and bytes counted as they were",
    )
    command.add_argument(
        "--batch-size", type=int, default=1, help="chunks of a batch, for card (1)"
    )
    command.add_argument(
        "--tokens-per-byte",
        type=float,
        metavar="X",
        help="of the corpus, for card's bits per byte: 0.29335 of the Pile",
    )
    command.add_argument(
        "--resume", type=Path, metavar="FILE", help="keeps what was scored, and goes on from it"
    )
    add_file_name(command)
    add_device(command)
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=run_perplexity)


def run_perplexity(options: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        InputError, ModelFileError, MissingDependencyError: as perplexity() and read_documents().
    """
    from gptneo_onnx.runtime.evaluation.perplexity import perplexity
    from gptneo_onnx.runtime.evaluation.wikitext import with_pages
    from gptneo_onnx.runtime.tokenizer import Tokenizer

    documents = documents_of(options)
    if options.detokenize:
        documents = with_pages(documents)
    model = load_model(options.model, options, options.file_name)
    found = perplexity(
        model,
        Tokenizer.from_pretrained(options.model),
        documents,
        protocol=options.protocol,
        stride=options.stride,
        detokenize=options.detokenize,
        batch_size=options.batch_size,
        tokens_per_byte=options.tokens_per_byte,
        journal=_journal(options, model.engine.fingerprint),
        progress=True,
    )
    print(json.dumps(found.as_dict()) if options.json else _table(found))


def _journal(options: argparse.Namespace, fingerprint: str) -> Any:
    from gptneo_onnx.runtime.evaluation.journal import Journal

    if options.resume is None:
        return Journal()
    if STANDARD_INPUT in options.files:
        raise InputError("--resume needs texts that can be read again, and - is standard input")
    if options.resume in options.files:
        raise InputError(f"--resume {options.resume} is one of the texts; name another file")
    names = ("protocol", "stride", "detokenize", "field", "lines")
    files = hashlib.sha256()
    for path in options.files:
        for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if part.is_file():
                files.update(sha256_of(part).encode())
    measurement = {name: getattr(options, name) for name in names}
    measurement |= {"model": fingerprint, "texts": files.hexdigest()}
    return Journal.open(options.resume, measurement)


def _table(found: "Perplexity") -> str:
    error = "" if math.isnan(found.standard_error) else f" ± {found.standard_error:.3f}"
    rows = [("token perplexity", f"{found.token_perplexity:.4f}{error}")]
    if found.protocol == "rolling":
        rows += [
            ("word perplexity", f"{found.word_perplexity:.4f}"),
            ("byte perplexity", f"{found.byte_perplexity:.4f}"),
        ]
    rows += [
        ("bits per byte", f"{found.bits_per_byte:.4f}"),
        ("likeliest token", f"{100 * found.accuracy:.2f}%"),
        ("protocol", found.protocol),
        ("scored", f"{counted(found.tokens, 'token')} of {counted(found.documents)}"),
    ]
    return "\n".join(f"{name:20}{value}" for name, value in rows)
