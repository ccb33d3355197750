"""Files are there once they are whole, or not at all."""

import pytest
from refusals import refused

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.whole_file import check_writable, whole_file


@pytest.mark.parametrize(("mode", "content"), [("w", "caf\u00e9"), ("wb", b"\x00\xff")])
def test_what_was_written_is_there_at_the_end(tmp_path, mode, content):
    path = tmp_path / "file"
    with whole_file(path, mode) as file:
        file.write(content)
        assert not path.exists()
    assert path.read_bytes() == (content.encode() if mode == "w" else content)
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(TypeError), whole_file(path, "w") as file:
        file.writelines(["after", None])
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_a_place_that_there_is_not_is_refused_before_and_after(tmp_path):
    path = tmp_path / "nowhere/file"
    with refused(InputError, "file cannot be written: .*nowhere is no directory; name another"):
        check_writable(path)
    with refused(InputError, "file cannot be written: No such file"), whole_file(path, "w"):
        pass
    with refused(InputError, "is a directory; name a file"):
        check_writable(tmp_path)
