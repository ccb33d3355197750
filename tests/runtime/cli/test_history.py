"""The history file: private, limited, and shared by sessions."""

import json
import stat

import pytest

from gptneo_onnx.runtime.cli.history import (
    MAX_ENTRIES,
    MAX_ENTRY_CHARACTERS,
    History,
    history_file,
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state/gptneo-onnx/history"


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_entries_come_back(file):
    history = History(file)
    assert history.entries == []
    for entry in ("She was", "two\nlines", "é \u2028 x", "She was"):
        history.add(entry)
    assert History(file).entries == ["She was", "two\nlines", "é \u2028 x", "She was"]


def test_no_other_user_can_read_it(file):
    History(file).add("She was")
    assert permissions(file) == 0o600
    assert permissions(file.parent) == 0o700
    file.chmod(0o644)
    History(file).add("and")
    assert permissions(file) == 0o600


def test_entries_that_are_not_kept(file):
    history = History(file)
    for entry in ("", "  ", "a", "a", "x" * (MAX_ENTRY_CHARACTERS + 1)):
        history.add(entry)
    assert History(file).entries == ["a"]


def test_sessions_at_the_same_time_keep_each_others(file):
    first, second = History(file), History(file)
    first.add("a")
    second.add("b")
    first.add("c")
    assert History(file).entries == ["a", "b", "c"]


def test_the_oldest_entries_go(file):
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"{json.dumps(str(n))}\n" for n in range(2 * MAX_ENTRIES + 1)))
    assert History(file).entries == [str(n) for n in range(MAX_ENTRIES + 1, 2 * MAX_ENTRIES + 1)]
    assert len(file.read_text().splitlines()) == MAX_ENTRIES
    assert permissions(file) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["history"]


def test_a_huge_file_is_shortened(file):
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"{json.dumps(str(n) + 'x' * 9000)}\n" for n in range(900)))
    entries = History(file).entries
    assert entries[-1].startswith("899x")
    assert file.stat().st_size < 2**20
    assert History(file).entries == entries[-len(History(file).entries) :]


def test_damaged_lines_are_passed_over(file):
    file.parent.mkdir(parents=True)
    file.write_bytes(b'"a"\nnot json\n12\n\xff\n"b"\n"cut')
    assert History(file).entries == ["a", "b"]


@pytest.mark.parametrize("entry", ["a\0b", "a\ud800b"])
def test_what_nobody_can_have_typed_is_passed_over(file, entry):
    file.parent.mkdir(parents=True)
    file.write_text(f'{json.dumps(entry)}\n{"[" * 100_000}\n"She was"\n')
    assert History(file).entries == ["She was"]


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_file() == tmp_path / "gptneo-onnx/history"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert history_file() == tmp_path / ".local/state/gptneo-onnx/history"
    monkeypatch.setattr("sys.platform", "darwin")
    assert history_file() == tmp_path / "Library/Application Support/gptneo-onnx/history"
