"""Read documents from text files, JSON lines, Parquet files and saved datasets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.json_file import parse_json
from gptneo_onnx.runtime.files import is_directory, read_lines, read_standard_input, read_text
from gptneo_onnx.runtime.table_text import checked_text, no_field
from gptneo_onnx.runtime.tables import read_dataset, read_parquet


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
        MissingDependencyError: Parquet files and datasets need pyarrow.
    """
    for path in map(Path, paths):
        count = 0
        for document in _documents_of(path, field, lines, final_newline):
            count += 1
            yield document
        if not count:
            raise InputError(f"{_source(path)} is empty; a text is expected")


def _documents_of(path: Path, field: str, lines: bool, final_newline: bool) -> Iterator[Document]:
    if path.suffix.lower() == ".jsonl" and not is_directory(path):
        yield from _read_json_lines(path, field)
    elif is_directory(path) or path.suffix.lower() == ".parquet":
        read = read_dataset if is_directory(path) else read_parquet
        for number, row in enumerate(read(path, field)):
            yield Document(row, f"{path}:{number}")
    elif text := read_standard_input() if path == STANDARD_INPUT else read_text(path):
        if lines:
            yield from _split_lines(text, _source(path))
            return
        if not final_newline:
            text = text.removesuffix("\n").removesuffix("\r")
        yield Document(text, _source(path))


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
        place = f"{path}, line {number}"
        try:
            row = parse_json(line)
        except ValueError as error:
            raise InputError(f"{place} is not JSON: {error}") from error
        if not isinstance(row, dict) or field not in row:
            raise no_field(field, place, row if isinstance(row, dict) else [type(row).__name__])
        yield Document(checked_text(row[field], field, place), f"{path}:{number}")
