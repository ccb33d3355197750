"""Documents to read: texts, JSON lines, Parquet files and datasets that were saved."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.runtime.files import is_directory


@dataclass(frozen=True)
class Document:
    """A text, and where it is from."""

    text: str
    source: str


# A path that stands for standard input.
STANDARD_INPUT = Path("-")


def read_documents(
    paths: Sequence[str | Path],
    field: str = "text",
    lines: bool = False,
    final_newline: bool = True,
) -> Iterator[Document]:
    """The documents of files, in their order.

    A text file is one document, with its final newline or without, or with `lines` has one in each
    line; STANDARD_INPUT is such a file too. A .jsonl file has one in each line, a .parquet file and
    a directory that datasets.Dataset.save_to_disk wrote (extra `datasets`) one in each row; `field`
    says where.

    Raises:
        InputError: a file that cannot be read, is empty, or has no such field.
        MissingDependencyError: a Parquet file or a dataset, without the extra.
    """
    for path in map(Path, paths):
        count = 0
        for document in _documents_of(path, field, lines, final_newline):
            count += 1
            yield document
        if not count:
            raise InputError(f"{_shown(path)} is empty; a text is expected")


def _documents_of(path: Path, field: str, lines: bool, final_newline: bool) -> Iterator[Document]:
    if is_directory(path):
        yield from _of_dataset(path, field)
    elif path.suffix.lower() == ".jsonl":
        yield from _of_lines(path, field)
    elif path.suffix.lower() == ".parquet":
        yield from _of_parquet(path, field)
    elif text := read_text(path):
        if not final_newline and not lines:
            text = text.removesuffix("\n").removesuffix("\r")
        yield from _of_text_lines(text, path) if lines else [Document(text, _shown(path))]


def read_text(path: Path) -> str:
    """A file's whole text; raises InputError if it is not there, or not UTF-8."""
    try:
        content = _standard_input() if path == STANDARD_INPUT else path.read_bytes()
        return content.decode("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise _unreadable(_shown(path), error) from error


def _unreadable(where: str, error: UnicodeDecodeError | OSError) -> InputError:
    if isinstance(error, OSError):
        return InputError(f"{where} cannot be read: {error.strerror}; name another file")
    return InputError(
        f"{where} is not UTF-8: byte {error.start} is {error.object[error.start]:#x}; "
        "convert it first"
    )


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise InputError("standard input is closed; name a file")
    return sys.stdin.buffer.read()


def counted(count: int, noun: str = "document") -> str:
    """So many of them, in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shown(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def _of_text_lines(text: str, path: Path) -> Iterator[Document]:
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        yield Document(line.removesuffix("\r"), f"{_shown(path)}:{number}")


def _of_lines(path: Path, field: str) -> Iterator[Document]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number} is not JSON: {error}") from error
        yield Document(_text_of(row, field, f"{path}, line {number}"), f"{path}:{number}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line): one at a time, as files may be larger than memory."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(f"{path}, line {number}", error) from error
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _of_parquet(path: Path, field: str) -> Iterator[Document]:
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


def _of_dataset(path: Path, field: str) -> Iterator[Document]:
    try:
        import datasets
    except ImportError as error:
        raise _needs_datasets(path) from error
    try:
        rows = datasets.load_from_disk(str(path))
    except Exception as error:  # datasets raises what it likes
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is no dataset that was saved to disk: {reason}") from error
    if isinstance(rows, dict):
        raise InputError(f"{path} has the splits {', '.join(rows)}; name the folder of one")
    for number, row in enumerate(rows):
        yield Document(_text_of(row, field, f"{path}, row {number}"), f"{path}:{number}")


def _text_of(row: Any, field: str, where: str) -> str:
    if not isinstance(row, dict) or field not in row:
        there = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise InputError(f"{where} has no text {field!r} (it has {shown(there)}); pass --field")
    text = row[field]
    if not isinstance(text, str):
        raise InputError(f"{where}: its {field!r} is {shown(text)}; a text is expected")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} has a lone surrogate, which no UTF-8 text can hold") from error
    return text


def _needs_datasets(path: Path) -> MissingDependencyError:
    return MissingDependencyError(
        f"{path} needs Hugging Face's datasets: pip install 'gptneo-onnx[datasets]'"
    )
