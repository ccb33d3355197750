"""Read documents from text files, JSON lines, Parquet files and saved datasets."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.runtime.files import decode_utf8, is_directory, read_lines, read_text


@dataclass(frozen=True)
class Document:
    """A text and its source, as errors name it."""

    text: str
    source: str


# The path that stands for standard input.
STANDARD_INPUT = Path("-")


def read_documents(
    paths: Sequence[str | Path],
    field: str = "text",
    lines: bool = False,
    final_newline: bool = True,
) -> Iterator[Document]:
    """Yield the documents of files, in order.

    A text file or STANDARD_INPUT is one document, or with `lines` a document for each line. A
    .jsonl file holds a document in each line; a .parquet file, or a directory that
    datasets.Dataset.save_to_disk wrote (extra `datasets`), in each row.

    Args:
        paths: the files and directories.
        field: the field of a .jsonl line, or the column of a row, that holds the text.
        lines: whether each line of a text file is a document.
        final_newline: whether to keep a text file's final newline.

    Raises:
        InputError: a file cannot be read, is empty, or has no such field.
        MissingDependencyError: Parquet files and datasets need the extra.
    """
    for path in map(Path, paths):
        count = 0
        for document in _documents_of(path, field, lines, final_newline):
            count += 1
            yield document
        if not count:
            raise InputError(f"{_source(path)} is empty; a text is expected")


def _documents_of(path: Path, field: str, lines: bool, final_newline: bool) -> Iterator[Document]:
    if is_directory(path):
        yield from _read_dataset(path, field)
    elif path.suffix.lower() == ".jsonl":
        yield from _read_json_lines(path, field)
    elif path.suffix.lower() == ".parquet":
        yield from _read_parquet(path, field)
    elif text := _read_standard_input() if path == STANDARD_INPUT else read_text(path):
        if lines:
            yield from _split_lines(text, _source(path))
            return
        if not final_newline:
            text = text.removesuffix("\n").removesuffix("\r")
        yield Document(text, _source(path))


def _read_standard_input() -> str:
    if sys.stdin is None:
        raise InputError("standard input is closed; name a file")
    try:
        content = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(
            f"standard input cannot be read: {error.strerror}; name another file"
        ) from error
    return decode_utf8(content, "standard input")


def counted(count: int, noun: str = "document") -> str:
    """Return a number with its noun: "1 document", "1,000 documents"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _source(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def _split_lines(text: str, source: str) -> Iterator[Document]:
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        yield Document(line.removesuffix("\r"), f"{source}:{number}")


def _read_json_lines(path: Path, field: str) -> Iterator[Document]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number} is not JSON: {error}") from error
        yield Document(_text_of(row, field, f"{path}, line {number}"), f"{path}:{number}")


def _read_parquet(path: Path, field: str) -> Iterator[Document]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise _needs_datasets(path) from error
    try:
        batches = parquet.ParquetFile(path).iter_batches(batch_size=64)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows):
            yield Document(_text_of(row, field, f"{path}, row {number}"), f"{path}:{number}")
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is no Parquet file that can be read: {reason}") from error


def _read_dataset(path: Path, field: str) -> Iterator[Document]:
    try:
        import datasets
    except ImportError as error:
        raise _needs_datasets(path) from error
    try:
        rows = datasets.load_from_disk(str(path))
    except Exception as error:  # datasets raises errors of many kinds
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is no dataset that was saved to disk: {reason}") from error
    if isinstance(rows, dict):
        raise InputError(f"{path} has the splits {', '.join(rows)}; name the folder of one")
    for number, row in enumerate(rows):
        yield Document(_text_of(row, field, f"{path}, row {number}"), f"{path}:{number}")


def _text_of(row: Any, field: str, source: str) -> str:
    if not isinstance(row, dict) or field not in row:
        fields = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise InputError(f"{source} has no text {field!r} (it has {shown(fields)}); pass --field")
    text = row[field]
    if not isinstance(text, str):
        raise InputError(f"{source}: its {field!r} is {shown(text)}; a text is expected")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{source} has a lone surrogate, which no UTF-8 text can hold") from error
    return text


def _needs_datasets(path: Path) -> MissingDependencyError:
    return MissingDependencyError(
        f"{path} needs Hugging Face's datasets: pip install 'gptneo-onnx[datasets]'"
    )
