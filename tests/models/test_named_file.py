"""Files that somebody names: regular ones are read, streams where that is said, nothing waits."""

import os
import socket
import threading
from pathlib import Path

import pytest

from gptneo_onnx.models.named_file import TooLargeError, is_utf8, open_file, read_file

POSIX = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # relative: a socket's name is short


@POSIX
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (fifo, "it is a pipe, and a regular file is expected"),
        (folder, "Is a directory"),
        (device, "it is a device, and a regular file is expected"),
        (listening, "it is a socket, and a regular file is expected"),
    ],
)
@pytest.mark.parametrize("takes_streams", [False, True])
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, make, said, takes_streams):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "named")
    with pytest.raises(OSError, match=said) as caught:
        open_file(tmp_path / "named", takes_streams)
    assert caught.value.filename == str(tmp_path / "named")


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_name_that_no_file_can_have(name):
    with pytest.raises(OSError, match="no file can have that name"):
        open_file(name)


@POSIX
def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(TooLargeError, match="^has 1099511627776 bytes; at most 1000 are read$"):
        read_file(path, 1000)


def test_a_file_is_read_up_to_its_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    assert read_file(path, 1000) == b"x" * 1000
    with pytest.raises(TooLargeError, match="has 1000 bytes; at most 999 are read"):
        read_file(path, 999)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_whose_size_is_not_known_is_read():
    assert read_file("/proc/self/status", 10**6).startswith(b"Name:")
    with pytest.raises(TooLargeError, match="has more than 10 bytes, the most that are read"):
        read_file("/proc/self/status", 10)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_an_open_pipe_is_a_stream_that_has_to_be_asked_for():
    content = os.urandom(3 * 2**20)
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.raises(OSError, match="it is a pipe"):
        open_file(f"/dev/fd/{reading}")
    assert read_file(f"/dev/fd/{reading}", 2**22, takes_streams=True) == content
    thread.join()
    os.close(reading)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_stream_without_an_end_is_read_up_to_its_bound():
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    with pytest.raises(TooLargeError, match="has more than 5000000 bytes"):
        read_file(f"/dev/fd/{descriptor}", 5_000_000, takes_streams=True)
    os.close(descriptor)


def test_names_that_utf8_can_hold():
    assert is_utf8("caf\u00e9")
    assert is_utf8(Path("a"))
    assert not is_utf8(Path("a\udcff"))
