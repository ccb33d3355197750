"""Documents: text files, JSON lines, Parquet files and saved datasets.

An input is the kind of file, a zero byte, and its content.
"""

import io
import json
from pathlib import Path

import pyarrow
from fuzzing import Random, Target, mutate_bytes, mutate_json
from pyarrow import parquet

from gptneo_onnx.runtime.documents import read_documents

TABLE = pyarrow.table({"text": ["one", "two", "two", "caf\u00e9"] * 5, "number": range(20)})
NAMES = {"text": "a.txt", "lines": "a.jsonl", "parquet": "a.parquet"}
PARQUET_OPTIONS = (
    {},
    {"compression": "zstd", "row_group_size": 7},
    {"use_dictionary": False, "data_page_version": "2.0"},
    {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}},
    {"use_dictionary": False, "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY"}},
)


def seeds() -> list[bytes]:
    contents = [("text", b"one\r\ntwo\n"), ("text", b"\xef\xbb\xbfcaf\xc3\xa9")]
    contents.append(("lines", json.dumps({"text": "a", "more": [1, {"x": None}]}).encode()))
    for options in PARQUET_OPTIONS:
        stream = io.BytesIO()
        parquet.write_table(TABLE, stream, **options)
        contents.append(("parquet", stream.getvalue()))
    stream = io.BytesIO()
    with pyarrow.ipc.new_stream(stream, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=8)
    contents.append(("dataset", stream.getvalue()))
    return [kind.encode() + b"\0" + content for kind, content in contents]


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    kind, _, content = data.partition(b"\0")
    change = mutate_json if kind == b"lines" else mutate_bytes
    return kind + b"\0" + change(random, content, seeds)


def run(data: bytes, folder: Path) -> None:
    kind, _, content = data.partition(b"\0")
    path = folder / NAMES.get(kind.decode(errors="replace"), "set")
    if path.name == "set":
        path.mkdir()
        (path / "data.arrow").write_bytes(content)
        (path / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    else:
        path.write_bytes(content)
    for document in read_documents([path]):
        document.text.encode()


TARGET = Target(seeds, run, mutate)
