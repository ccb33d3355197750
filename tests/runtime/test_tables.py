"""Tables that are damaged, hostile or merely odd: each is read, or refused in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from refusals import refused

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime import parquet_pages, tables
from gptneo_onnx.runtime.documents import read_documents
from gptneo_onnx.runtime.files import MAX_ROW_BYTES

MEGABYTE = "a" * 2**20
# A text column whose second row is not UTF-8.
DAMAGED = pyarrow.Array.from_buffers(
    pyarrow.string(), 2, pyarrow.array([b"one", b"tw\xff"]).buffers()
)


def texts(path, field="text"):
    return [document.text for document in read_documents([path], field)]


def write_parquet(path, **columns):
    parquet.write_table(pyarrow.table(columns), path)
    return path


def write_dataset(folder, *tables):
    """Write what datasets.Dataset.save_to_disk does, so far as it is read."""
    folder.mkdir()
    names = [f"data-{number:05}-of-{len(tables):05}.arrow" for number in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with (
            pyarrow.OSFile(str(folder / name), "wb") as file,
            pyarrow.ipc.new_stream(file, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


# Columns that nobody asked for, whose values Python cannot hold.
OTHERS = {
    "unknown zone": pyarrow.array([1, 2], pyarrow.timestamp("us", tz="Nowhere/Else")),
    "late": pyarrow.array([2**62, 2**62], pyarrow.timestamp("us")),
    "long": pyarrow.array([2**62, 2**62], pyarrow.duration("us")),
    "not UTF-8": DAMAGED,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_columns_do_not_matter(tmp_path, kind):
    columns = {"other": OTHERS[kind], "text": ["one", "two"]}
    if kind != "long":  # Parquet has no durations
        assert texts(write_parquet(tmp_path / "a.parquet", **columns)) == ["one", "two"]
    assert texts(write_dataset(tmp_path / "set", pyarrow.table(columns))) == ["one", "two"]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_every_kind_of_text_is_read(tmp_path, kind):
    expected = ["one", "", "two", "one"] * 3
    column = pyarrow.array(expected)
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(kind)
    table = pyarrow.table({"text": column})
    for number, options in enumerate(
        [
            {},
            {"use_dictionary": False, "data_page_version": "2.0", "compression": "zstd"},
            {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
            {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY"},
            {"row_group_size": 5},
        ]
    ):
        if kind == "dictionary" and "column_encoding" in options:
            continue  # pyarrow cannot read that back
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(table, path, **options)
        assert texts(path) == expected
    assert texts(write_dataset(tmp_path / "set", table.slice(0, 5), table.slice(5))) == expected


COLUMNS = {
    "damaged": (DAMAGED, ", row 1: its 'text' is not UTF-8: byte 2 is 0xff; convert it first"),
    "null": (["a", None], ", row 1: its 'text' is None; a text is expected"),
    "bytes": ([b"a", b"b"], ", row 0: its 'text' is b'a'; a text is expected"),
    "numbers": ([1, 2], "its 'text' is .*; a text is expected"),
    "lists": ([["a"]], "(has no text 'text' .*pass --field|its 'text' is .*; a text is expected)"),
    "too long": (
        ["a" * (MAX_ROW_BYTES + 1)],
        f", row 0: its 'text' has {MAX_ROW_BYTES + 1} bytes, and at most {MAX_ROW_BYTES} are read",
    ),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("form", ["parquet", "dataset"])
def test_a_row_without_a_text_is_named(tmp_path, form, kind):
    column, message = COLUMNS[kind]
    if form == "parquet":
        path = write_parquet(tmp_path / "a.parquet", text=column)
    else:
        path = write_dataset(tmp_path / "a", pyarrow.table({"text": column}))
        if kind == "damaged":  # Arrow checks a batch as a whole
            message = "is no dataset that was saved to disk: Invalid UTF8"
    with refused(InputError, message):
        texts(path)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", page=["a"], title=["b"])
    with refused(InputError, r"has no text 'text' \(it has 'page, title'\); pass --field"):
        texts(path)
    with refused(InputError, r"has no text 'text' \(it has 'page'\); pass --field"):
        texts(write_dataset(tmp_path / "a", pyarrow.table({"page": ["a"]})))


def repeated(text, count):
    """Return a column that repeats a text, without the memory that it would take unpacked."""
    return pyarrow.DictionaryArray.from_arrays(np.zeros(count, np.int32), [text])


# Small files that hold much: the columns, how they are written, and what is said.
BOMBS = {
    "repeated": (repeated(MEGABYTE, 4700), {}, "of text, over 100 times its own size"),
    "of nothing": (repeated("", 2_000_000), {}, "of text, over 100 times its own size"),
    "in many groups": (
        [MEGABYTE] * 40,
        {"row_group_size": 5, "use_dictionary": False},
        "of text, over 100 times its own size; write it as .jsonl",
    ),
    "in one page": (
        [MEGABYTE] * 40,
        {"use_dictionary": False},
        "a row group has 41.9 MB once it is unpacked, .*; write it with fewer rows in a group",
    ),
    "as differences": (
        [MEGABYTE] * 40,
        {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
        "of text, over 100 times its own size",
    ),
    "in a large page of differences": (
        [os.urandom(2**19).hex() for _ in range(9)],
        {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
        "is too large for one in a delta encoding",
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_holds_much_is_refused(tmp_path, monkeypatch, kind):
    """With limits so low that the test itself stays small."""
    monkeypatch.setattr(tables, "_LEAST_TEXT", 2**24)
    monkeypatch.setattr(parquet_pages, "_LEAST_BYTES", 2**24)
    column, options, message = BOMBS[kind]
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": column}), path, compression="zstd", **options)
    with refused(InputError, message):
        texts(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_small_file_takes_no_gigabytes(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", text=repeated(MEGABYTE, 4700))
    assert path.stat().st_size < 2**20
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from gptneo_onnx.models import InputError\n"
        "from gptneo_onnx.runtime.documents import read_documents\n"
        "try:\n"
        "    documents = list(read_documents([sys.argv[1]]))\n"
        "except InputError as error:\n"
        "    print(error)\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    message, kilobytes = result.stdout.splitlines()
    assert "of text, over 100 times its own size; write it as .jsonl" in message
    assert int(kilobytes) < 10**6


def test_texts_that_are_as_large_as_their_file_are_read_whatever_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_LEAST_TEXT", 2**20)
    monkeypatch.setattr(parquet_pages, "_LEAST_BYTES", 2**20)
    rows = [os.urandom(2**19).hex() for _ in range(20)]
    assert texts(write_parquet(tmp_path / "a.parquet", text=rows)) == rows


def test_what_the_footer_says_of_a_column_is_what_pyarrow_reads_in_it(tmp_path):
    """pyarrow itself ends the process where a column's statistics are damaged."""
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"number": range(40), "text": ["one", "two"] * 20})
    parquet.write_table(table, path, row_group_size=15, use_dictionary=["number"])
    metadata = parquet.ParquetFile(path).metadata
    with path.open("rb") as file:
        chunks = parquet_pages.read_chunks(file, 1)
    assert len(chunks) == metadata.num_row_groups == 3
    for group, chunk in enumerate(chunks):
        column = metadata.row_group(group).column(1)
        assert chunk.place == column.data_page_offset
        assert chunk.size == column.total_compressed_size
        assert chunk.num_values == column.num_values
        assert len(chunk.encodings) == len(column.encodings)


@pytest.mark.parametrize("cut", [4, 100, -4, -100])
def test_a_parquet_file_that_was_cut_is_refused(tmp_path, cut):
    path = write_parquet(tmp_path / "a.parquet", text=["one", "two"])
    path.write_bytes(path.read_bytes()[:cut])
    with refused(InputError, "a.parquet is no Parquet file that can be read: "):
        texts(path)


STATES = {
    "none": (None, "is no dataset that was saved to disk: .*state.json is missing"),
    "no JSON": ("{", "is no dataset that was saved to disk: .*state.json is not valid JSON"),
    "no files": ("{}", "is no dataset that was saved to disk: state.json names no files"),
    "numbers": ('{"_data_files": [1]}', "state.json names no files"),
    "elsewhere": (
        '{"_data_files": [{"filename": "../secret.arrow"}]}',
        "state.json names the file '../secret.arrow'; a name without a folder is allowed",
    ),
    "missing": (
        '{"_data_files": [{"filename": "x.arrow"}]}',
        "is no dataset that was saved to disk: No such file or directory",
    ),
    "not Arrow's": (
        '{"_data_files": [{"filename": "state.json"}]}', "is no dataset that was saved to disk: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", STATES)
def test_a_folder_that_is_no_dataset_is_refused(tmp_path, kind):
    content, message = STATES[kind]
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    with refused(InputError, message):
        texts(tmp_path)


def test_the_splits_of_several_datasets_are_named(tmp_path):
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with refused(InputError, "has the splits train, test; name the folder of one"):
        texts(tmp_path)


def test_an_arrow_file_whose_offsets_lead_out_of_it_is_refused(tmp_path):
    folder = write_dataset(tmp_path / "a", pyarrow.table({"text": ["one", "two", "three"]}))
    [path] = folder.glob("*.arrow")
    content = path.read_bytes()
    offsets = (3).to_bytes(4, "little") + (6).to_bytes(4, "little")
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, (3).to_bytes(4, "little") + b"\xff\xff\xff\x7f"))
    with refused(InputError, "is no dataset that was saved to disk: "):
        texts(folder)
