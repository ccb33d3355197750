"""The command `gptneo-onnx embed`: texts to vectors, in a file or on standard output."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError, ModelFileError, printable
from gptneo_onnx.runtime.cli.options import (
    add_batch_size,
    add_device,
    add_documents,
    add_graph_choice,
    add_model,
    add_quiet,
    check_documents,
    chosen_graph,
    documents_of,
    load_with,
    model_values,
)
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.progress import with_progress
from gptneo_onnx.runtime.files import atomic_file, check_writable

if TYPE_CHECKING:
    from gptneo_onnx.runtime.arrays import Floats
    from gptneo_onnx.runtime.documents import Document
    from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureExtractionPipeline

# Those of pipelines.pooling, which takes numpy: its import would slow --help down.
POOLINGS = ("none", "mean", "last_token")
ARRAY_SUFFIX, LINES_SUFFIX = ".npy", ".jsonl"


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "embed",
        help="vectors of texts, from a model's hidden states",
        description="Turn texts into vectors: a model's hidden states, by default their mean.",
    )
    add_model(command)
    add_documents(command)
    group = command.add_argument_group("vectors")
    group.add_argument(
        "--pooling",
        default="mean",
        choices=POOLINGS,
        metavar="NAME",
        help="mean of a text's tokens, last_token, or none for a vector per token (default: mean)",
    )
    group.add_argument(
        "--layer",
        type=int,
        default=-1,
        metavar="N",
        help="which layer's hidden states: -1 for the last, or one that `export --hidden-states` "
        "named (default: -1)",
    )
    group.add_argument("--normalize", action="store_true", help="scale vectors to length 1")
    group.add_argument(
        "--truncation", action="store_true", help="cut texts that are longer than the context"
    )
    group = command.add_argument_group("output")
    group.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="write vectors.npy, a row for each text, or vectors.jsonl (default: print JSON lines)",
    )
    group.add_argument(
        "--json",
        action="store_true",
        help="with --out, print one JSON object that says what was written",
    )
    add_quiet(group)
    group = command.add_argument_group("model")
    add_graph_choice(group)
    add_batch_size(group)
    add_device(command)
    add_examples(
        command,
        "embed gpt-neo-125m texts.txt --lines -o vectors.npy",
        "embed gpt-neo-125m texts.txt --pooling last_token --normalize",
    )
    command.set_defaults(run=run_embed)


def run_embed(options: argparse.Namespace) -> None:
    """Read the texts and write their vectors.

    Raises:
        InputError: a text or option that cannot be used; nothing was written.
        ModelFileError: the model is damaged, or its numbers overflow.
    """
    out: Path | None = options.out
    if out is not None:
        _check_out(out, options.files)
    # A line end that an editor added would be a text's last token.
    documents = list(documents_of(options, final_newline=False))
    if out is not None and out.suffix == ARRAY_SUFFIX:
        _check_fits_array(documents, options.pooling)
    pipeline = _pipeline(options)
    check_documents(documents, lambda text: pipeline.encode(text, options.truncation))
    features = _features(pipeline, documents, options)
    if out is None:
        _write_lines(sys.stdout, documents, features)
        return
    if out.suffix == LINES_SUFFIX:
        with atomic_file(out, "w") as file:
            shape = _write_lines(file, documents, features)
    else:
        with atomic_file(out, "wb") as file:
            shape = _write_array(file, len(documents), features)
    _report(out, shape, options, model_values(pipeline.model))


def _report(
    out: Path, shape: list[int | None], options: argparse.Namespace, model: dict[str, Any]
) -> None:
    """Say what was written: on standard error, or with --json as an object on standard output."""
    if options.json:
        print(json.dumps({"out": str(out), "shape": shape, "dtype": "float32", **model}))
    elif not options.quiet:
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        print(printable(f"wrote {out}: [{sizes}] float32"), file=sys.stderr)


def _check_out(out: Path, texts: Sequence[Path]) -> None:
    if out.suffix not in (ARRAY_SUFFIX, LINES_SUFFIX):
        raise InputError(f"--out is {out}; a name in {ARRAY_SUFFIX} or {LINES_SUFFIX} is allowed")
    check_writable(out, texts)


def _check_fits_array(documents: "Sequence[Document]", pooling: str) -> None:
    if pooling == "none" and len(documents) > 1:
        raise InputError(
            f"pooling none gives a vector for each token, and {len(documents)} texts of different "
            f"lengths make no array; write {LINES_SUFFIX}, or pool"
        )


def _pipeline(options: argparse.Namespace) -> "FeatureExtractionPipeline":
    """Load the model, and check that its graph returns the layer that is asked for."""
    from gptneo_onnx.runtime.base_model import GPTNeoModel
    from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureExtractionPipeline

    directory, graph = chosen_graph(options.model, options)
    loaded = load_with(GPTNeoModel.from_pretrained, directory, options, graph)
    pipeline = FeatureExtractionPipeline(
        loaded.model,
        loaded.tokenizer,
        pooling=options.pooling,
        layer=options.layer,
        normalize=options.normalize,
        truncation=options.truncation,
        batch_size=options.batch_size,
        return_tensors=True,
    )
    pipeline.model.layers([options.layer])
    return pipeline


def _features(
    pipeline: "FeatureExtractionPipeline",
    documents: "Sequence[Document]",
    options: argparse.Namespace,
) -> "Iterator[Floats]":
    """Yield each document's features; refuse those that are not finite."""
    import numpy as np

    results = with_progress(
        pipeline(document.text for document in documents),
        len(documents),
        "texts",
        options,
        prints=options.out is None,
    )
    for document, features in zip(documents, results, strict=True):
        if not np.isfinite(features).all():
            raise ModelFileError(
                f"{document.source}: its hidden states are not finite numbers in this model's "
                "precision; export with --precision fp32 or bf16"
            )
        yield features


def _write_lines(
    file: IO[str], documents: "Sequence[Document]", features: "Iterator[Floats]"
) -> list[int | None]:
    """Write an object for each text: its source, and its vector or the vectors of its tokens.

    Returns:
        The shape: [texts, hidden], or [texts, None, hidden] with vectors of tokens.
    """
    import numpy as np

    shape: list[int | None] = [len(documents)]
    for document, vectors in zip(documents, features, strict=True):
        vectors = vectors[0] if vectors.ndim > 1 else vectors
        # The fewest digits that still identify a float32: half of what a float64 takes.
        digits = vectors.astype(str).astype(np.float64)
        line = {"source": document.source, "embedding": digits.tolist()}
        file.write(json.dumps(line) + "\n")
        shape[1:] = [None] * (vectors.ndim - 1) + [vectors.shape[-1]]
    return shape


def _write_array(file: IO[bytes], count: int, features: "Iterator[Floats]") -> list[int | None]:
    """Write [texts, hidden], or [tokens, hidden] of one text, a text at a time.

    Rows are written as they come, so more texts can be embedded than fit into memory.

    Returns:
        The shape.
    """
    import numpy as np

    shape: tuple[int, ...] = ()
    for index, vectors in enumerate(features):
        if index == 0:
            shape = (count, *vectors.shape) if vectors.ndim == 1 else vectors.shape[1:]
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(vectors.astype("<f4").tobytes())
    return [*shape]
