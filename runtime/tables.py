"""Read the texts of tables: a column of a Parquet file, or of a dataset that was saved to disk.

Only the column that is asked for is read: what others hold, such as times in an unknown zone, does
not matter. A small file can be unpacked to gigabytes, so that sizes are looked at before texts are
made of what was read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from gptneo_onnx.models.errors import (
    GPTNeoOnnxError,
    InputError,
    MissingDependencyError,
    ModelFileError,
    shown,
)
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.named_file import open_file
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.files import MAX_ROW_BYTES
from gptneo_onnx.runtime.parquet_pages import PageError, check_pages, read_chunks
from gptneo_onnx.runtime.table_text import checked_text, no_field, too_long

# Enough that what a row group has in common, its dictionary, is not copied too often.
_ROWS = 16384
# How much text a file may hold: a little in any case, and a hundred times its own size. A row
# counts as some bytes more than its text has.
_LEAST_TEXT = 256 * 1024 * 1024
_MOST_UNPACKED = 100
_ROW_BYTES = 256
_TEXT_KINDS = ("NONE", "STRING", "JSON", "ENUM")  # Parquet's logical types


def read_parquet(path: Path, field: str) -> Iterator[str]:
    """Yield the texts of a Parquet file's column.

    Raises:
        InputError: the file cannot be read, has no such column, or a row has no text.
        MissingDependencyError: without pyarrow.
    """
    _import_pyarrow(path)
    from pyarrow import parquet

    place = _Place(path, "Parquet file that can be read")
    with _one_line(place), open_file(path) as file:
        table = parquet.ParquetFile(file, pre_buffer=False)
        schema = table.metadata.schema
        columns = [schema.column(number) for number in range(len(schema))]
        names = [column.path for column in columns]
        if field not in names:
            raise no_field(field, str(path), names)
        number = names.index(field)
        column = columns[number]
        if column.physical_type != "BYTE_ARRAY" or column.logical_type.type not in _TEXT_KINDS:
            raise InputError(
                f"{path}: its {field!r} is of type {column.physical_type} "
                f"({column.logical_type.type}); a text is expected"
            )
        chunks = read_chunks(file, number)
        if len(chunks) != table.metadata.num_row_groups:
            raise PageError("the footer is damaged")
        # pyarrow keeps a text that repeats once, but not in these encodings: then a row at a time.
        is_delta = any(chunk.is_delta for chunk in chunks)
        table = parquet.ParquetFile(
            file,
            metadata=table.metadata,
            read_dictionary=[] if is_delta else [field],
            pre_buffer=False,
        )
        rows = 1 if is_delta else _ROWS
        for group, chunk in enumerate(chunks):
            check_pages(file, chunk)
            batches = table.iter_batches(
                rows, row_groups=[group], columns=[field], use_threads=False
            )
            yield from _texts((batch.column(0) for batch in batches), field, place)


def read_dataset(path: Path, field: str) -> Iterator[str]:
    """Yield the texts of a column of a dataset that datasets.Dataset.save_to_disk wrote.

    Its files are Arrow's, and state.json names them.

    Raises:
        InputError: the folder holds something else, has no such column, or a row has no text.
        MissingDependencyError: without pyarrow.
    """
    pyarrow = _import_pyarrow(path)
    if (path / "dataset_dict.json").is_file():
        splits = _json(path, "dataset_dict.json").get("splits")
        names = ", ".join(map(str, splits)) if isinstance(splits, list) else "unknown"
        raise InputError(f"{path} has the splits {shown(names)[1:-1]}; name the folder of one")
    place = _Place(path, "dataset that was saved to disk")
    with _one_line(place):
        for name in _data_files(path):
            # Mapped into memory: a row is read when it is asked for.
            with open_file(path / name), pyarrow.memory_map(str(path / name)) as file:
                schema = pyarrow.ipc.open_stream(file).schema
                if field not in schema.names:
                    raise no_field(field, str(path), schema.names)
                file.seek(0)
                options = pyarrow.ipc.IpcReadOptions(
                    included_fields=[schema.names.index(field)], use_threads=False
                )
                batches = pyarrow.ipc.open_stream(file, options=options)
                yield from _texts(_checked(batches), field, place)


def _data_files(path: Path) -> list[str]:
    entries = _json(path, "state.json").get("_data_files")
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise InputError(f"{path} is no dataset that was saved to disk: state.json names no files")
    names = [each.get("filename") for each in entries]
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise InputError(
                f"{path}: state.json names the file {shown(name)}; a name without a folder is "
                "allowed"
            )
    return names


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        return read_json_object(path / name)
    except ModelFileError as error:
        raise InputError(f"{path} is no dataset that was saved to disk: {error}") from error


def _checked(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield the only column of batches, after a check that it stays within the file."""
    for batch in batches:
        column = batch.column(0)
        column.validate(full=True)
        for start in range(0, len(column), _ROWS):
            yield column.slice(start, _ROWS)


class _Place:
    """Where a reader is: names the row in messages, and counts what was read.

    Attributes:
        path: the file or folder.
        what: what it is expected to be.
        row: the last row that was begun, from 0.
        size: of what was read, by the measure of _ROW_BYTES.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what
        self.row = -1
        self.size = 0

    def __str__(self) -> str:
        return f"{self.path}, row {self.row}"


def _texts(columns: Iterator[Any], field: str, place: _Place) -> Iterator[str]:
    most = max(_LEAST_TEXT, _MOST_UNPACKED * _size(place.path))
    for column in columns:
        for value in _values(column, field, place):
            text = checked_text(value, field, str(place))
            place.size += len(text) + _ROW_BYTES
            if place.size > most:
                raise InputError(
                    f"{place.path} has more than {readable_size(most)} of text, over "
                    f"{_MOST_UNPACKED} times its own size; write it as .jsonl"
                )
            yield text


def _values(column: Any, field: str, place: _Place) -> Iterator[Any]:
    """Yield the values of a column as Python has them; those that repeat are made once."""
    import pyarrow

    if not isinstance(column, pyarrow.DictionaryArray):
        for scalar in column:
            place.row += 1
            yield _value(scalar, field, place)
        return
    made: dict[int | None, Any] = {None: None}
    different = column.dictionary
    for index in column.indices.to_pylist():
        place.row += 1
        if index not in made:
            made[index] = _value(different[index], field, place)
        yield made[index]


def _value(scalar: Any, field: str, place: _Place) -> Any:
    """Return a value as Python has it; a text is not made before its size is known."""
    content = scalar.as_buffer() if hasattr(scalar, "as_buffer") else None
    if content is not None and content.size > MAX_ROW_BYTES:
        raise too_long(field, str(place), content.size)
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place}: its {field!r} is not UTF-8: byte {error.start} is "
            f"{error.object[error.start]:#x}; convert it first"
        ) from error


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


@contextmanager
def _one_line(place: _Place) -> Iterator[None]:
    """Turn what pyarrow raises, errors of many kinds, into one line that names the row."""
    try:
        yield
    except GPTNeoOnnxError:
        raise
    except Exception as error:
        _refuse(place, error)


def _refuse(place: _Place, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    after = f" after row {place.row}" if place.row >= 0 else ""
    reason = reason or type(error).__name__
    raise InputError(f"{place.path} is no {place.what}{after}: {reason}") from error


def _import_pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} needs pyarrow, which is not installed: pip install 'gptneo-onnx[datasets]'"
        ) from error
    return pyarrow
