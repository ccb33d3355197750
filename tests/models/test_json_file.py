"""JSON from untrusted files."""

import os
from pathlib import Path

import pytest

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.json_file import MAX_DEPTH, read_json_object


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.json"


def refused(path: Path, match: str, max_bytes: int = 1000) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        read_json_object(path, max_bytes)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_an_object_is_read(path: Path) -> None:
    path.write_text('{"a": [1, 2.5, null], "\u00e9": {"b": true}}')
    assert read_json_object(path) == {"a": [1, 2.5, None], "\u00e9": {"b": True}}


def test_a_missing_file_is_refused(path: Path) -> None:
    refused(path, "some.json is missing")


def test_a_file_below_a_file_is_refused(path: Path) -> None:
    path.write_text("{}")
    refused(path / "below.json", "cannot be read: Not a directory")


def test_a_file_that_is_too_large_is_refused(path: Path) -> None:
    path.write_text('"' + "x" * 999 + '"')
    refused(path, "has 1001 bytes; at most 1000 are read")


def test_a_file_of_the_largest_size_is_read(path: Path) -> None:
    path.write_text("{}" + " " * 998)
    assert read_json_object(path, 1000) == {}


@pytest.mark.parametrize(
    "content", ["", "{", '{"a"}', '{"a": 1,}', "{}{}", "nothing", "{'a': 1}", '{"a": 0x1}']
)
def test_what_is_not_json_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    refused(path, "is not valid JSON: ")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\xff", b'{"\xe9": 1}', b"\x00" * 9, bytes(range(256))]
)
def test_bytes_that_are_no_text_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "is not valid JSON: ")


@pytest.mark.parametrize(
    ("content", "kind"), [("[]", "list"), ("1", "int"), ('"a"', "str"), ("null", "NoneType")]
)
def test_anything_but_an_object_is_refused(path: Path, content: str, kind: str) -> None:
    path.write_text(content)
    refused(path, f"holds a JSON {kind}; an object is expected")


def test_nesting_is_limited(path: Path) -> None:
    path.write_text(nested(MAX_DEPTH))
    assert read_json_object(path)
    path.write_text(nested(MAX_DEPTH + 1))
    refused(path, "nested too deeply, at most 100 levels are read")


@pytest.mark.parametrize("depth", [500, 900, 990, 1000, 100_000])
def test_nesting_of_any_depth_is_refused(path: Path, depth: int) -> None:
    """Near Python's own limit, reading it succeeds but printing it would not."""
    path.write_text('{"a":' + "[" * depth + "]" * depth + "}")
    refused(path, "nested too deeply", max_bytes=10**6)


def test_a_number_of_many_digits_is_refused(path: Path) -> None:
    path.write_text('{"a": ' + "9" * 5000 + "}")
    refused(path, "is not valid JSON", max_bytes=10_000)


def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir()
    refused(path, "is not a regular file")


def test_a_pipe_is_refused_without_waiting_for_a_writer(path: Path) -> None:
    os.mkfifo(path)
    refused(path, "is not a regular file")


def test_a_device_that_never_ends_is_refused(path: Path) -> None:
    path.symlink_to("/dev/zero")
    refused(path, "is not a regular file")


def test_values_are_shown_in_one_short_line() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert shown(3) == "3"
    assert len(shown("x" * 1000)) == 80
    assert shown(10**5000) == "a huge number"
