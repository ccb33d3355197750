"""Documents from texts, JSON lines, tables and standard input."""

import io
import sys

import pyarrow
import pytest
from pyarrow import parquet

from gptneo_onnx.models.errors import InputError, MissingDependencyError
from gptneo_onnx.runtime.documents import Document, read_documents


def texts(*paths, field="text"):
    return [document.text for document in read_documents(paths, field)]


def test_a_text_file_is_one_document(tmp_path):
    for name, text in (("a.txt", "one\r\ntwo"), ("b", "caf\u00e9")):
        (tmp_path / name).write_bytes(text.encode())
    assert texts(tmp_path / "a.txt", tmp_path / "b") == ["one\r\ntwo", "caf\u00e9"]


def test_each_line_of_a_text_is_one_where_that_is_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\n\ncaf\u00e9\u2028still it\n".encode())
    documents = [*read_documents([path], lines=True)]
    assert [document.text for document in documents] == ["one", "", "caf\u00e9\u2028still it"]
    assert [document.source for document in documents] == [f"{path}:{i}" for i in (1, 2, 3)]


def test_a_final_newline_is_left_out_where_that_is_asked_for(tmp_path):
    path, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    path.write_bytes(b"one\n\ntwo\r\n")
    lines.write_text('{"text": "one\\n"}\n')
    assert [each.text for each in read_documents([path], final_newline=False)] == ["one\n\ntwo"]
    assert [each.text for each in read_documents([lines], final_newline=False)] == ["one\n"]


def test_standard_input_is_a_text_too(monkeypatch):
    def read(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return [*read_documents(["-"])]

    assert read("caf\u00e9\n".encode()) == [Document("caf\u00e9\n", "standard input")]
    with pytest.raises(InputError, match="standard input is empty; a text is expected"):
        read(b"")
    with pytest.raises(InputError, match="standard input is not UTF-8: byte 1 is 0xff"):
        read(b"a\xff")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed; name a file"):
        list(read_documents(["-"]))


def test_json_lines_have_one_each(tmp_path):
    path = tmp_path / "all.jsonl"
    path.write_text('{"text": "one", "page": "eins"}\n\n{"text": "", "page": "z\\u00ebro"}\n')
    assert texts(path) == ["one", ""]
    assert texts(path, field="page") == ["eins", "z\u00ebro"]
    assert [document.source for document in read_documents([path])] == [f"{path}:1", f"{path}:3"]


def test_parquet_has_one_in_each_row(tmp_path):
    path = tmp_path / "all.parquet"
    parquet.write_table(pyarrow.table({"text": ["one", "two"] * 100}), path)
    assert texts(path) == ["one", "two"] * 100


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.txt", b"", "a.txt is empty; a text is expected"),
        ("a.jsonl", b"\n\n", "a.jsonl is empty"),
        ("a.txt", b"ab\xff", "a.txt is not UTF-8: byte 2 is 0xff; convert it first"),
        ("a.jsonl", b'{"text": "x"}\n{', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b"[1]", "a.jsonl, line 1 has no text 'text' .*pass --field"),
        ("a.jsonl", b'{"page": "x"}', "line 1 has no text 'text' .*page.*pass --field"),
        ("a.jsonl", b'{"text": 3}', "line 1: its 'text' is 3; a text is expected"),
        ("a.jsonl", b'{"text": "\\ud800"}', "line 1 has a lone surrogate, which no UTF-8 text"),
        ("a.parquet", b"PAR1", "a.parquet is no Parquet file that can be read"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=match) as caught:
        texts(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_missing_package(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        texts(tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        texts(tmp_path / ("x" * 300))
    for module in ("pyarrow", "datasets"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    for path in (tmp_path / "a.parquet", tmp_path):
        with pytest.raises(MissingDependencyError, match=r"gptneo-onnx\[datasets\]"):
            texts(path)


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "She was"), ("a.jsonl", '{"text": "She was"}')]
)
def test_a_byte_order_mark_is_no_text(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert [document.text for document in read_documents([path])] == ["She was"]


def test_a_byte_order_mark_within_a_file_is_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\ufefftwo")
    texts = [document.text for document in read_documents([path], lines=True)]
    assert texts == ["one", "\ufefftwo"]
