"""The command `gptneo-onnx embed`: texts to vectors, in a file or on standard output."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime.cli.device_options import add_device, add_file_name, load_model
from gptneo_onnx.runtime.cli.document_options import add_documents, documents_of
from gptneo_onnx.runtime.files import atomic_file, check_writable
from gptneo_onnx.runtime.pipelines.feature_extraction import POOLINGS, FeatureExtractionPipeline

if TYPE_CHECKING:
    from gptneo_onnx.runtime.documents import Document

ARRAY, LINES = ".npy", ".jsonl"
Features = NDArray[np.float32]


def add_embed(commands: Any) -> None:
    """The command and its options."""
    command = commands.add_parser("embed", help="vectors of texts, from a model's hidden states")
    command.add_argument("model", type=Path, metavar="MODEL")
    add_documents(command)
    command.add_argument(
        "--pooling",
        default="mean",
        choices=POOLINGS,
        help="mean of a text's tokens (the default), the last, or a vector of each",
    )
    command.add_argument(
        "--layer",
        type=int,
        default=-1,
        metavar="N",
        help="whose hidden states: -1, the last, or one that `export --hidden-states` named",
    )
    command.add_argument("--normalize", action="store_true", help="vectors of length 1")
    command.add_argument(
        "--truncation", action="store_true", help="cut texts that are longer than the context"
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="vectors.npy, a row for each text, or vectors.jsonl; else JSON lines are printed",
    )
    command.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="texts read together (16)"
    )
    add_file_name(command)
    add_device(command)
    command.set_defaults(run=run_embed)


def run_embed(options: argparse.Namespace) -> None:
    """Read the texts, and write their vectors.

    Raises:
        InputError: a text or option that cannot be used; nothing was written.
        ModelFileError: the model is damaged, or its numbers overflow.
    """
    if options.out is not None:
        if options.out.suffix not in (ARRAY, LINES):
            raise InputError(f"--out is {options.out}; a name in {ARRAY} or {LINES} is allowed")
        check_writable(options.out, options.files)
    # A line end that an editor added would be a text's last token.
    documents = list(documents_of(options, final_newline=False))
    if options.out is not None and options.out.suffix == ARRAY:
        _check_fits_an_array(documents, options.pooling)
    pipeline = _pipeline(options)
    _check_each(pipeline, documents, options.truncation)
    features = _features(pipeline, documents, options)
    if options.out is None:
        _write_lines(sys.stdout, documents, features)
    elif options.out.suffix == LINES:
        with atomic_file(options.out, "w") as file:
            _write_lines(file, documents, features)
    else:
        with atomic_file(options.out, "wb") as file:
            _write_array(file, len(documents), features)


def _check_fits_an_array(documents: "Sequence[Document]", pooling: str) -> None:
    if pooling == "none" and len(documents) > 1:
        raise InputError(
            f"pooling none gives a vector for each token, and {len(documents)} texts of different "
            f"lengths make no array; write {LINES}, or pool"
        )


def _pipeline(options: argparse.Namespace) -> FeatureExtractionPipeline:
    from gptneo_onnx.runtime.tokenizer import Tokenizer

    pipeline = FeatureExtractionPipeline(
        load_model(options.model, options, options.file_name),
        Tokenizer.from_pretrained(options.model),
        pooling=options.pooling,
        layer=options.layer,
        normalize=options.normalize,
        truncation=options.truncation,
        batch_size=options.batch_size,
        return_tensors=True,
    )
    pipeline.model.layers([options.layer])
    return pipeline


def _check_each(
    pipeline: FeatureExtractionPipeline, documents: "Sequence[Document]", truncation: bool
) -> None:
    """Before any is read: what cannot be read is told by its place, and costs no time."""
    for document in documents:
        try:
            pipeline.encode(document.text, truncation)
        except InputError as error:
            raise InputError(f"{document.source}: {error}") from error


def _features(
    pipeline: FeatureExtractionPipeline,
    documents: "Sequence[Document]",
    options: argparse.Namespace,
) -> Iterator[Features]:
    from tqdm import tqdm

    each = pipeline(document.text for document in documents)
    # The bar would be drawn among the lines of a terminal.
    is_shown = options.out is not None
    bar = tqdm(each, total=len(documents), unit=" texts", disable=None if is_shown else True)
    for document, features in zip(documents, bar, strict=True):
        if not np.isfinite(features).all():
            raise ModelFileError(
                f"{document.source}: its hidden states are not finite numbers in this model's "
                "precision; export with --precision fp32 or bf16"
            )
        yield features


def _write_lines(
    file: IO[str], documents: "Sequence[Document]", features: Iterator[Features]
) -> None:
    """An object for each text: where it is from, and its vector, or those of its tokens."""
    for document, vectors in zip(documents, features, strict=True):
        vectors = vectors[0] if vectors.ndim > 1 else vectors
        # As few digits as tell a float32 from its neighbours: half of what a float64 takes.
        digits = vectors.astype(str).astype(np.float64)
        line = {"source": document.source, "embedding": digits.tolist()}
        file.write(json.dumps(line) + "\n")


def _write_array(file: IO[bytes], count: int, features: Iterator[Features]) -> None:
    """[texts, hidden], or of one text [tokens, hidden]: a row at a time, whatever their number."""
    for index, vectors in enumerate(features):
        if index == 0:
            shape = (count, *vectors.shape) if vectors.ndim == 1 else vectors.shape[1:]
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(vectors.astype("<f4").tobytes())
