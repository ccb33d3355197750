"""Hashes of verified files are remembered, and a damaged memory does no harm."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.manifest import FileRecord, sha256_of
from gptneo_onnx.runtime.files import cache_folder
from gptneo_onnx.runtime.model_files import remembered
from gptneo_onnx.runtime.model_files.hashes import REMEMBERED_FILE, FileVerification
from gptneo_onnx.runtime.model_files.held_file import HeldFile

NAMES = ("a", "b")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a cache folder that does not exist yet."""
    folder = tmp_path / "cache" / "folder"
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", str(folder))
    return folder


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"the contents of {name}")
    return folder


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that were hashed."""
    names: list[str] = []

    digest = HeldFile.sha256

    def counting(file: HeldFile) -> str:
        names.append(file.path.name)
        return digest(file)

    monkeypatch.setattr(HeldFile, "sha256", counting)
    return names


def records(directory: Path) -> dict[str, FileRecord]:
    return {
        name: FileRecord((directory / name).stat().st_size, sha256_of(directory / name))
        for name in NAMES
    }


def verify(directory: Path, files: dict[str, FileRecord] | None = None) -> None:
    FileVerification(directory, files or records(directory)).finish()


def replace_keeping_times(path: Path, content: str) -> None:
    status = path.stat()
    path.write_text(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_files_are_hashed_once(directory: Path, hashed: list[str]) -> None:
    verify(directory)
    assert hashed == ["a", "b"]
    verify(directory)
    assert hashed == ["a", "b"]


def test_a_touched_file_is_hashed_again(directory: Path, hashed: list[str]) -> None:
    verify(directory)
    os.utime(directory / "b", ns=(0, 0))
    verify(directory)
    assert hashed == ["a", "b", "b"]


def test_a_changed_file_is_refused_though_it_was_verified(directory: Path) -> None:
    files = records(directory)
    verify(directory, files)
    (directory / "b").write_text("the contents of c")
    with pytest.raises(ModelFileError, match=r"b was changed since the export \(its SHA-256"):
        verify(directory, files)


def test_a_changed_file_that_hides_it_is_refused(
    directory: Path, hashed: list[str], tmp_path: Path
) -> None:
    """Size and modification time are as before; the inode or the change time is not."""
    files = records(directory)
    verify(directory, files)
    replace_keeping_times(directory / "a", "the contents of x")
    with pytest.raises(ModelFileError, match="a was changed"):
        verify(directory, files)
    (tmp_path / "new").write_text("the contents of y")
    status = (directory / "b").stat()
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "new").rename(directory / "b")
    with pytest.raises(ModelFileError, match="b was changed"):
        verify(directory, {"b": files["b"]})


def test_a_refused_file_is_refused_again(directory: Path) -> None:
    files = records(directory)
    (directory / "a").write_text("the contents of x")
    for _ in range(2):
        with pytest.raises(ModelFileError, match="a was changed"):
            verify(directory, files)


def test_another_digest_for_the_same_file_is_checked_again(directory: Path) -> None:
    verify(directory)
    with pytest.raises(ModelFileError, match="a was changed"):
        verify(directory, {"a": FileRecord(17, "0" * 64)})


def test_a_file_that_is_gone_is_refused(directory: Path) -> None:
    files = records(directory)
    (directory / "a").unlink()
    with pytest.raises(ModelFileError, match=r"a cannot be read \(No such file"):
        verify(directory, files)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": ',
        b"\xff\xfe",
        b'{"a": 1}',
        b'{"a": {"b": []}}',
        b"[" * 100_000,
        b'{"a":' * 990 + b"1" + b"}" * 990,
        b" " * 2**21,
    ],
)
def test_a_damaged_memory_is_no_obstacle(
    directory: Path, cache: Path, hashed: list[str], content: bytes
) -> None:
    cache.mkdir(parents=True)
    (cache / REMEMBERED_FILE).write_bytes(content)
    verify(directory)
    verify(directory)
    assert hashed == ["a", "b"]


def test_a_memory_that_is_a_pipe_or_a_folder_is_no_obstacle(directory: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    os.mkfifo(cache / REMEMBERED_FILE)
    verify(directory)
    (cache / REMEMBERED_FILE).unlink()
    (cache / REMEMBERED_FILE).mkdir()
    verify(directory)


def test_a_memory_that_remembers_nonsense_is_not_believed(directory: Path, cache: Path) -> None:
    files = records(directory)
    verify(directory, files)
    memory = json.loads((cache / REMEMBERED_FILE).read_text())
    (cache / REMEMBERED_FILE).write_text(json.dumps(dict.fromkeys(memory, True)))
    (directory / "a").write_text("the contents of x")
    with pytest.raises(ModelFileError, match="a was changed"):
        verify(directory, files)


def test_a_cache_folder_that_cannot_be_made_is_no_obstacle(
    directory: Path, cache: Path, hashed: list[str]
) -> None:
    cache.parent.write_text("a file")
    verify(directory)
    verify(directory)
    assert hashed == ["a", "b"] * 2


def test_a_cache_folder_that_cannot_be_written_is_no_obstacle(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, mode: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remembered, "replace_atomically", full)
    verify(directory)


def test_a_user_without_a_home_is_no_obstacle(
    directory: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_home(monkeypatch)
    verify(directory)
    assert hashed == ["a", "b"]


def without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GPTNEO_ONNX_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)


def test_nothing_but_the_memory_is_left_in_the_cache_folder(directory: Path, cache: Path) -> None:
    verify(directory)
    assert [path.name for path in cache.iterdir()] == [REMEMBERED_FILE]


def test_only_so_much_is_remembered(
    directory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_MAX_REMEMBERED", 3)
    for index in range(5):
        os.utime(directory / "a", ns=(0, index))
        verify(directory)
    assert len(json.loads((cache / REMEMBERED_FILE).read_text())) == 3


# Where the cache folder is.


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", "/chosen")
    assert cache_folder() == Path("/chosen")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "/home/me/.cache/gptneo-onnx"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache/gptneo-onnx"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/gptneo-onnx"),
        ("darwin", {}, "/home/me/Library/Caches/gptneo-onnx"),
        ("win32", {}, "/home/me/AppData/Local/gptneo-onnx"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/gptneo-onnx"),
    ],
)
def test_each_platform_has_its_own_cache_folder(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("GPTNEO_ONNX_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr("gptneo_onnx.runtime.files.sys.platform", platform)
    assert cache_folder() == Path(expected)


def test_a_user_without_a_home_is_told_to_choose_one(monkeypatch: pytest.MonkeyPatch) -> None:
    without_home(monkeypatch)
    with pytest.raises(InputError, match="no home directory .*; set GPTNEO_ONNX_CACHE"):
        cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/gptneo-onnx")
