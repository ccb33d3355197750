"""UTF-8 texts are read as they are, and files are written whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import refused

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.files import (
    atomic_file,
    check_writable,
    read_lines,
    read_text,
    remove_abandoned_files,
    replace_atomically,
)

# Writes a file until it is killed.
WRITER = """
import sys
from pathlib import Path
from gptneo_onnx.runtime.files import replace_atomically
with replace_atomically(Path(sys.argv[1]), "wb") as file:
    file.write(bytes(1000))
    file.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_text_keeps_its_line_ends(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("one\r\ncaf\u00e9\rthree\n\u2028four".encode())
    assert read_text(path) == read_text(str(path)) == "one\r\ncaf\u00e9\rthree\n\u2028four"
    assert [*read_lines(path)] == [
        (1, "one\r\n"), (2, "caf\u00e9\rthree\n"), (3, "\u2028four"),
    ]  # fmt: skip


def test_a_text_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "file"
    with refused(InputError, "file cannot be read: No such file or directory; name another file"):
        read_text(path)
    with refused(InputError, "file cannot be read: No such file or directory; name another file"):
        [*read_lines(path)]
    path.write_bytes(b"one\ntw\xff")
    with refused(InputError, "file is not UTF-8: byte 6 is 0xff; convert it first"):
        read_text(path)
    with refused(InputError, "file, line 2 is not UTF-8: byte 2 is 0xff; convert it first"):
        [*read_lines(path)]


def test_a_text_may_be_limited(tmp_path):
    path = tmp_path / "file"
    path.write_text("1234")
    assert read_text(path, max_bytes=4) == "1234"
    with refused(InputError, "file has 4 bytes; at most 3 are read"):
        read_text(path, max_bytes=3)


@pytest.mark.parametrize(("mode", "content"), [("w", "caf\u00e9"), ("wb", b"\x00\xff")])
def test_a_file_appears_once_it_is_written(tmp_path, mode, content):
    path = tmp_path / "file"
    with atomic_file(path, mode) as file:
        file.write(content)
        assert not path.exists()
    assert path.read_bytes() == (content.encode() if mode == "w" else content)
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_leaves_the_earlier_file(tmp_path):
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
def test_a_path_that_cannot_be_made_is_refused_by_check_and_write(tmp_path, name):
    path = tmp_path / name
    with refused(InputError, "cannot be written: (No such file|File name too long).*name another"):
        check_writable(path)
    with refused(InputError, "cannot be written: "), atomic_file(path, "w"):
        pass
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a folder that nobody writes into")
def test_a_folder_that_takes_no_files_is_refused_by_the_check():
    with refused(InputError, "/proc/file cannot be written: "):
        check_writable(Path("/proc/file"))


def test_a_file_that_is_read_is_not_overwritten(tmp_path):
    (tmp_path / "text").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    for path in (tmp_path / "text", tmp_path / "link"):
        with refused(InputError, "is one of the texts, and would be lost; name another file"):
            check_writable(path, [tmp_path / "other", tmp_path / "text"])
    check_writable(tmp_path / "new", [tmp_path / "text"])
    with refused(InputError, "is a directory; name a file"):
        check_writable(tmp_path)


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        assert remove_abandoned_files(tmp_path) == 0  # of a process that runs
        [partial] = tmp_path.iterdir()
        process.send_signal(signal.SIGKILL)
    (tmp_path / ".mine.partial").write_text("")
    (tmp_path / ".gptneo-onnx-link.partial").symlink_to("nowhere")
    os.mkfifo(tmp_path / ".gptneo-onnx-pipe.partial")
    others = {*tmp_path.iterdir()} - {partial}
    with atomic_file(tmp_path / "other", "w") as file:
        file.write("text")
    assert {*tmp_path.iterdir()} == others | {tmp_path / "other"}


def test_the_bytes_freed_are_counted(tmp_path):
    (tmp_path / ".gptneo-onnx-0123.partial").write_bytes(bytes(77))
    assert remove_abandoned_files(tmp_path) == 77
    assert remove_abandoned_files(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("permissions", [0o600, 0o666])
def test_a_file_has_the_permissions_that_were_asked_for(tmp_path, permissions):
    path = tmp_path / "file"
    mask = os.umask(0)
    try:
        with replace_atomically(path, "w", permissions) as file:
            file.write("text")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == permissions


def test_a_check_leaves_nothing(tmp_path):
    check_writable(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_file_is_closed_before_it_is_renamed_on_windows(tmp_path, monkeypatch):
    path = tmp_path / "file"
    renamed = []

    def replace(partial, target):
        links = Path("/proc/self/fd").iterdir()
        descriptors = [link.readlink() for link in links if link.is_symlink()]
        assert partial not in descriptors
        renamed.append(os.rename(partial, target))  # noqa: PTH104

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(Path, "replace", replace)
    with atomic_file(path, "w") as file:
        file.write("text")
    assert renamed == [None]
    assert path.read_text() == "text"
    assert list(tmp_path.iterdir()) == [path]
