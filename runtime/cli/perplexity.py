"""The command `gptneo-onnx perplexity`: how well a model predicts texts."""

import argparse
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.manifest import sha256_of
from gptneo_onnx.models.named_file import is_stream
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.options import (
    add_device,
    add_documents,
    add_graph_choice,
    add_json,
    add_model,
    add_quiet,
    chosen_graph,
    documents_of,
    load_with_tokenizer,
    model_values,
)
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.documents import STANDARD_INPUT, counted

if TYPE_CHECKING:
    from gptneo_onnx.runtime.evaluation.journal import Journal
    from gptneo_onnx.runtime.evaluation.perplexity import Perplexity

# The options that --resume must find unchanged, besides the model and the texts.
_MEASUREMENT_OPTIONS = ("protocol", "stride", "detokenize", "field", "lines")


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "perplexity",
        help="how well a model predicts texts, by one of two definitions",
        description="Measure how well a model predicts texts, by one of two definitions.",
    )
    add_model(command)
    add_documents(command)
    group = command.add_argument_group("measurement")
    group.add_argument(
        "--protocol",
        default="rolling",
        choices=["rolling", "card"],
        metavar="NAME",
        help="rolling, as lm-evaluation-harness, or card, as GPT-Neo's model card (default: "
        "rolling)",
    )
    group.add_argument(
        "--stride",
        type=int,
        metavar="N",
        help="score N tokens per window, after as much context as fits (default: the protocol's "
        "windows)",
    )
    group.add_argument(
        "--detokenize",
        choices=["wikitext"],
        metavar="NAME",
        help="wikitext: read Wikitext's pages as plain text, and count words and bytes as they "
        "were before (default: read texts as they are)",
    )
    group.add_argument(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="with card: chunks read together (default: 1)",
    )
    group.add_argument(
        "--tokens-per-byte",
        type=float,
        metavar="X",
        help="with card: the corpus's tokens per byte, for bits per byte; 0.29335 for the Pile "
        "(default: those of the texts)",
    )
    group = command.add_argument_group("output")
    group.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="record scores in FILE, and continue from those that it holds already (default: "
        "start over)",
    )
    add_json(group)
    add_quiet(group)
    add_graph_choice(command.add_argument_group("model"))
    add_device(command)
    add_examples(
        command,
        "perplexity gpt-neo-125m text.txt",
        "perplexity gpt-neo-125m text.txt --protocol card --json",
    )
    command.set_defaults(run=run_perplexity)


def run_perplexity(options: argparse.Namespace) -> None:
    """Measure the perplexity and print it.

    Raises:
        InputError, ModelFileError, MissingDependencyError: as perplexity() and read_documents().
    """
    from gptneo_onnx.runtime.evaluation.perplexity import perplexity
    from gptneo_onnx.runtime.evaluation.wikitext import with_pages

    documents = documents_of(options)
    if options.detokenize:
        documents = with_pages(documents)
    directory, graph = chosen_graph(options.model, options, (Head.CAUSAL_LM,))
    loaded = load_with_tokenizer(directory, options, graph)
    journal = _journal(options, loaded.model.engine.fingerprint)
    result = perplexity(
        loaded.model,
        loaded.tokenizer,
        list(documents),  # whose bytes tell how much is left
        protocol=options.protocol,
        stride=options.stride,
        detokenize=options.detokenize,
        batch_size=options.batch_size,
        tokens_per_byte=options.tokens_per_byte,
        journal=journal,
        progress=not options.quiet,
    )
    values = result.as_dict() | model_values(loaded.model)
    print(json.dumps(values) if options.json else _table(result))


def _journal(options: argparse.Namespace, fingerprint: str) -> "Journal":
    """Open the journal of --resume, or return one that records nothing."""
    from gptneo_onnx.runtime.evaluation.journal import Journal

    if options.resume is None:
        return Journal()
    if STANDARD_INPUT in options.files:
        raise InputError("--resume needs texts that can be read again, and - is standard input")
    if stream := next(filter(is_stream, options.files), None):
        raise InputError(f"--resume needs texts that can be read again, and {stream} is a stream")
    if options.resume in options.files:
        raise InputError(f"--resume {options.resume} is one of the texts; name another file")
    measurement = {name: getattr(options, name) for name in _MEASUREMENT_OPTIONS}
    measurement |= {"model": fingerprint, "texts": _hash_of(options.files)}
    return Journal.open(options.resume, measurement)


def _hash_of(paths: Sequence[Path]) -> str:
    """Return a hash of the contents of files, and of all files in folders."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(sha256_of(file).encode())
    return digest.hexdigest()


def _table(result: "Perplexity") -> str:
    error = "" if math.isnan(result.standard_error) else f" ± {result.standard_error:.3f}"
    rows = [("token perplexity", f"{result.token_perplexity:.4f}{error}")]
    if result.protocol == "rolling":
        rows += [
            ("word perplexity", f"{result.word_perplexity:.4f}"),
            ("byte perplexity", f"{result.byte_perplexity:.4f}"),
        ]
    rows += [
        ("bits per byte", f"{result.bits_per_byte:.4f}"),
        ("likeliest token", f"{100 * result.accuracy:.2f}%"),
        ("protocol", result.protocol),
        ("scored", f"{counted(result.tokens, 'token')} of {counted(result.documents)}"),
    ]
    return "\n".join(f"{name:20}{value}" for name, value in rows)
