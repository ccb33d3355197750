"""The options by which every command reads documents."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptneo_onnx.runtime.documents import Document

_FILES = "a text (- for standard input), .jsonl, .parquet, or the folder of a saved dataset"


def add_documents(command: Any) -> None:
    """The files, and what of them is a document."""
    command.add_argument("files", type=Path, nargs="+", metavar="FILE", help=_FILES)
    _add_forms(command)


def add_texts(command: Any) -> None:
    """The same behind --text, where other words come first."""
    command.add_argument(
        "--text", dest="files", type=Path, nargs="+", required=True, metavar="FILE", help=_FILES
    )
    _add_forms(command)


def _add_forms(command: Any) -> None:
    command.add_argument("--field", default="text", help="of JSON lines and tables (text)")
    command.add_argument(
        "--lines", action="store_true", help="each line of a text is a document, not all of it"
    )


def documents_of(options: argparse.Namespace, final_newline: bool = True) -> "Iterator[Document]":
    """The documents of options.files; arguments and errors are read_documents()'s."""
    from gptneo_onnx.runtime.documents import read_documents

    return read_documents(options.files, options.field, options.lines, final_newline)
