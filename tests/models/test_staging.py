"""What a killed process left is removed; what a running one writes, and what others made, stays."""

import errno
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import refused

from gptneo_onnx.models import ExportError, staging
from gptneo_onnx.models.interruption import remove_half_written
from gptneo_onnx.models.staging import NEW, OLD, OWNER, remove_leftovers, staging_directory

# Writes into the directory that becomes OUT until it is told to go on, or killed.
WRITER = """
import os, sys
from pathlib import Path
from gptneo_onnx.models.staging import staging_directory
out = Path(sys.argv[1])
with staging_directory(out) as new:
    (new / "weights").write_bytes(bytes(1000))
    if "moved" in sys.argv:
        out.rename(new.parent / "old")
    print(new.parent, flush=True)
    sys.stdin.read()
    new.rename(out)
"""


@pytest.fixture
def writer(tmp_path):
    """Start a process that writes `out`; return it and its area."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "out"), *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1], Path(started[-1].stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def without_locks(monkeypatch):
    """Have the file system answer as one that has no locks."""
    monkeypatch.setattr(staging, "is_locked", lambda path: None)


def test_what_is_renamed_stays_and_the_rest_goes(tmp_path):
    with staging_directory(tmp_path / "out") as new:
        (new / "file").write_text("whole")
        new.rename(tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_what_a_killed_process_left_is_removed(tmp_path, writer):
    process, area = writer()
    assert remove_leftovers(tmp_path) == []
    assert names(area) == [NEW, OWNER]
    kill(process)
    [leftover] = remove_leftovers(tmp_path)
    assert str(leftover) == f"removed {area} (1 kB), which a killed process left"
    assert names(tmp_path) == []


def test_files_that_have_another_name_free_nothing(tmp_path, writer):
    process, area = writer()
    os.link(area / NEW / "weights", tmp_path / "weights")
    kill(process)
    assert [leftover.size for leftover in remove_leftovers(tmp_path)] == [0]
    assert (tmp_path / "weights").stat().st_size == 1000


def test_the_directory_that_was_to_be_replaced_is_put_back(tmp_path, writer):
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("earlier")
    process, _ = writer("moved")
    kill(process)
    assert not out.exists()
    [leftover] = remove_leftovers(tmp_path)
    assert str(leftover).endswith(f", and put back {out}, which it was about to replace")
    assert (out / "file").read_text() == "earlier"
    assert names(tmp_path) == ["out"]


def test_it_is_not_put_back_over_a_newer_one(tmp_path, writer):
    out = tmp_path / "out"
    out.mkdir()
    process, _ = writer("moved")
    kill(process)
    out.mkdir()
    (out / "file").write_text("newer")
    [leftover] = remove_leftovers(tmp_path)
    assert leftover.restored is None
    assert (out / "file").read_text() == "newer"


def test_an_exception_puts_it_back_too(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("earlier")

    def fail():
        with staging_directory(out) as new:
            out.rename(new.parent / OLD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == ["out"]
    assert names(out) == ["file"]


@pytest.mark.parametrize(
    "owner",
    [
        None,
        "",
        "{",
        "[]",
        '{"process": 1}',
        '{"program": "another"}',
        json.dumps({"program": "gptneo-onnx", "padding": "x" * 5000}),
    ],
)
def test_what_only_has_such_a_name_stays(tmp_path, owner):
    area = tmp_path / ".out.partial-12345678"
    (area / NEW).mkdir(parents=True)
    if owner is not None:
        (area / OWNER).write_text(owner)
    assert remove_leftovers(tmp_path) == []
    assert names(tmp_path) == [area.name]
    with staging_directory(tmp_path / "out") as new:
        new.rename(tmp_path / "out")
    assert names(tmp_path) == [area.name, "out"]


def test_an_owner_that_is_a_link_or_a_pipe_stays(tmp_path):
    for number, make in enumerate((os.mkfifo, lambda path: path.symlink_to(os.devnull))):
        area = tmp_path / f".out.partial-{number}"
        area.mkdir()
        make(area / OWNER)
    assert remove_leftovers(tmp_path) == []
    assert len(names(tmp_path)) == 2


def test_a_link_to_what_a_process_left_stays(tmp_path, writer):
    process, area = writer()
    kill(process)
    area.rename(tmp_path / "aside")
    area.symlink_to(tmp_path / "aside")
    assert remove_leftovers(tmp_path) == []
    assert names(tmp_path / "aside") == [NEW, OWNER]


def test_a_folder_that_is_missing_has_no_leftovers(tmp_path):
    assert remove_leftovers(tmp_path / "nowhere") == []


def test_two_processes_do_not_write_the_same(tmp_path, writer):
    process, _ = writer()
    out = tmp_path / "out"
    with (
        refused(ExportError, "out is being written by another process; wait until it is done"),
        staging_directory(out),
    ):
        pass
    with staging_directory(tmp_path / "other"):
        pass
    process.communicate("")
    assert names(tmp_path) == ["out"]
    with staging_directory(out):
        pass


def test_two_threads_do_not_either(tmp_path):
    with (
        staging_directory(tmp_path / "out"),
        refused(ExportError, "out is being written by another process"),
        staging_directory(tmp_path / "out"),
    ):
        pass
    assert names(tmp_path) == []


def test_the_end_of_a_process_removes_what_it_writes(tmp_path):
    with staging_directory(tmp_path / "out"):
        remove_half_written()
        assert names(tmp_path) == []


class TestWithoutLocks:
    """The process that is named decides, where a file system has no locks."""

    def test_a_running_process_counts(self, tmp_path, writer, monkeypatch):
        without_locks(monkeypatch)
        process, _ = writer()
        assert remove_leftovers(tmp_path) == []
        kill(process)
        assert len(remove_leftovers(tmp_path)) == 1

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
    def test_another_process_of_the_same_number_does_not(self, tmp_path, writer, monkeypatch):
        without_locks(monkeypatch)
        _, area = writer()
        owner = json.loads((area / OWNER).read_text())
        (area / OWNER).write_text(json.dumps(owner | {"started": "1"}))
        assert len(remove_leftovers(tmp_path)) == 1

    @pytest.mark.parametrize(
        "owner", [{"machine": "another"}, {"process": "7"}, {"process": 10**30}]
    )
    def test_of_what_is_not_known_nothing_is_removed(self, tmp_path, writer, monkeypatch, owner):
        without_locks(monkeypatch)
        process, area = writer()
        kill(process)
        written = json.loads((area / OWNER).read_text())
        assert written["machine"] == platform.node()
        (area / OWNER).write_text(json.dumps(written | owner))
        assert remove_leftovers(tmp_path) == []

    def test_this_process_counts(self, tmp_path, monkeypatch):
        def refuse(*arguments):
            raise OSError(errno.EOPNOTSUPP, "no locks")

        monkeypatch.setattr(fcntl, "flock", refuse)
        with staging_directory(tmp_path / "out") as new:
            assert remove_leftovers(tmp_path) == []
            with (
                refused(ExportError, "out is being written by another process"),
                staging_directory(tmp_path / "out"),
            ):
                pass
            new.rename(tmp_path / "out")
        assert names(tmp_path) == ["out"]
