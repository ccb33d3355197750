"""Files that stay open: what they are read as, and when a change is noticed."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.manifest import sha256_of
from gptneo_onnx.runtime.engine import session
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.model_files import held_file
from gptneo_onnx.runtime.model_files.directory import open_model_directory
from gptneo_onnx.runtime.model_files.held_file import HeldFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    return path


def changed(file: HeldFile, by_path: bool = False) -> bool:
    try:
        file.check_unchanged(by_path)
    except ModelFileError:
        return True
    return False


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_change_is_told_in_a_line(path: Path) -> None:
    file = HeldFile(path)
    path.write_bytes(b"")
    with pytest.raises(ModelFileError) as caught:
        file.check_unchanged()
    assert str(caught.value) == f"{path} was changed while it was loaded; load the model again"


def test_it_is_read_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = HeldFile(path)
    assert file.content() == bytes(file.view()) == file.mapped()[:] == b"contents"
    assert file.sha256() == sha256_of(path)
    assert not changed(file)
    path.write_bytes(b"Contents")
    assert file.content() == bytes(file.view()) == b"contents"  # what was checked
    file = HeldFile(path)
    monkeypatch.setattr(held_file, "MAX_READ_BYTES", 4)
    assert file.content() == bytes(file.view()) == file.mapped()[:] == b"Contents"
    assert file.sha256() == sha256_of(path)
    assert file.size == 8
    assert not changed(file)


def test_a_file_that_was_replaced_is_still_the_one_that_was_opened(path: Path) -> None:
    file = HeldFile(path)
    other = path.with_name("other")
    other.write_bytes(b"other")
    other.replace(path)
    assert file.content() == b"contents"
    assert changed(file, by_path=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"Contents"),
        lambda path: os.truncate(path, 4),
        lambda path: path.rename(path.with_name("other")).rename(path),
        lambda path: os.link(path, path.with_name("other")),
        lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns)),
    ],
    ids=["written", "truncated", "renamed and back", "linked", "its times set"],
)
def test_what_changes_the_change_time_is_noticed(
    path: Path, change: Callable[[Path], None]
) -> None:
    file = HeldFile(path)
    change(path)
    assert changed(file)
    assert changed(file, by_path=True)
    assert not changed(HeldFile(path))


def test_a_change_within_a_tick_of_the_clock_is_noticed(path: Path) -> None:
    """A file of this very moment is opened only when the clock has gone on."""
    for content in range(100):
        path.write_bytes(bytes([content]))
        file = HeldFile(path)
        path.write_bytes(bytes([content + 1]))
        assert changed(file)


def test_a_file_that_is_written_to_all_the_time_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: path.touch())
    path.touch()
    with pytest.raises(ModelFileError, match="file is being written to; load the model when"):
        HeldFile(path)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="is not a regular file"):
        HeldFile.inside(tmp_path, "pipe")
    HeldFile(tmp_path / "pipe").close()


def test_descriptors_are_closed(path: Path) -> None:
    file = HeldFile(path)
    descriptor = file.descriptor
    file.close()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    descriptor = HeldFile(path).descriptor
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_loading_and_refusing_models_leaves_no_descriptor(
    export_shape: Callable[..., Path],
) -> None:
    directory = export_shape()
    Engine.load(directory, device="cpu", num_threads=1)
    before = open_files()
    for _ in range(3):
        Engine.load(directory, device="cpu", num_threads=1)
        model = open_model_directory(directory)
        model.verification.finish()
        (directory / "extra").touch()
        with pytest.raises(ModelFileError, match="extra is not listed"):
            open_model_directory(directory)
        (directory / "extra").unlink()
    assert open_files() <= before


def test_a_child_reads_the_same_file(path: Path) -> None:
    file = HeldFile(path)
    path.unlink()
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).content().decode())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(file),
        pass_fds=[file.descriptor],
        capture_output=True,
        env=environment,
        check=True,
    )
    assert child.stdout.decode().strip() == "contents"


@pytest.mark.parametrize("graph", ["fused", "portable"])
def test_a_model_is_the_same_however_it_is_handed_over(
    export_shape: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    """As bytes, by the open file's other name, and by its path as for ONNX Runtime before 1.32."""
    directory = export_shape(graph=graph)

    def logits() -> np.ndarray:
        decoder = Engine.load(directory, device="cpu").decoder(slots=1)
        decoder.cache.clear(0)
        return decoder.prefill(0, np.arange(9)).copy()

    expected = logits()
    monkeypatch.setattr(held_file, "MAX_READ_BYTES", 0)
    np.testing.assert_array_equal(logits(), expected)
    monkeypatch.setattr(session, "is_onnx_runtime", lambda least: False)
    np.testing.assert_array_equal(logits(), expected)
