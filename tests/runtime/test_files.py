"""Files are there once they are whole, or not at all."""

from pathlib import Path

import pytest
from refusals import refused

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.files import atomic_file, check_writable


@pytest.mark.parametrize(("mode", "content"), [("w", "caf\u00e9"), ("wb", b"\x00\xff")])
def test_what_was_written_is_there_at_the_end(tmp_path, mode, content):
    path = tmp_path / "file"
    with atomic_file(path, mode) as file:
        file.write(content)
        assert not path.exists()
    assert path.read_bytes() == (content.encode() if mode == "w" else content)
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(TypeError), atomic_file(path, "w") as file:
        file.writelines(["after", None])
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with atomic_file(tmp_path / "link", "w") as file:
        file.write("content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.parametrize("name", ["nowhere/file", "x" * 300])
def test_a_place_that_there_is_not_is_refused_before_and_after(tmp_path, name):
    path = tmp_path / name
    with refused(InputError, "cannot be written: (No such file|File name too long).*name another"):
        check_writable(path)
    with refused(InputError, "cannot be written: "), atomic_file(path, "w"):
        pass
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a folder that nobody writes into")
def test_a_folder_that_takes_no_files_is_refused_before():
    with refused(InputError, "/proc/file cannot be written: "):
        check_writable(Path("/proc/file"))


def test_what_is_read_is_not_overwritten(tmp_path):
    (tmp_path / "text").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    for path in (tmp_path / "text", tmp_path / "link"):
        with refused(InputError, "is one of the texts, and would be lost; name another file"):
            check_writable(path, [tmp_path / "other", tmp_path / "text"])
    check_writable(tmp_path / "new", [tmp_path / "text"])
    with refused(InputError, "is a directory; name a file"):
        check_writable(tmp_path)
