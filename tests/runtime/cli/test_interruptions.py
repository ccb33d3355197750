"""Signals at any moment of any command: how it ends, what it says, and what it leaves."""

import importlib.util
import shutil
import signal

import pytest
from interruptions import MOMENTS, WAYS, Command, is_of_interpreter
from small_checkpoint import write_byte_tokenizer, write_small_checkpoint

from gptneo_onnx.export import export_model

NAMES = ("generate", "export", "again", "perplexity", "check", "cache", "demand", "tokenizer")
HAS_TRANSFORMERS = bool(importlib.util.find_spec("transformers"))


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_small_checkpoint(tmp_path / "checkpoint", random)


@pytest.fixture
def command(checkpoint, tmp_path, monkeypatch):
    """The command of a name."""
    cache, parent, out = tmp_path / "cache", tmp_path / "parent", tmp_path / "parent" / "out"
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", str(cache))
    made = export_model(checkpoint, tmp_path / "made")
    text = tmp_path / "text"
    text.write_text("It is a truth universally acknowledged. " * 20)
    other = tmp_path / "other"
    other.mkdir()
    write_byte_tokenizer(other)

    def empty():
        for folder in (cache, parent):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

    def with_export():
        empty()
        shutil.copytree(made, out)

    def of(name):
        return {
            "generate": Command(["generate", made, "It", "-n", "40", "--seed", "1"], cache, empty),
            "export": Command(["export", checkpoint, out], parent, empty),
            "again": Command(
                ["export", checkpoint, out, "--force", "--precision", "int8"], parent, with_export
            ),
            "verified": Command(["export", checkpoint, out, "--verify"], parent, empty),
            "perplexity": Command(["perplexity", made, text], cache, empty),
            "check": Command(["check", checkpoint], parent, empty),
            "cache": Command(["cache", "prune", "--all"], cache, empty),
            "demand": Command(["generate", checkpoint, "It", "-n", "3"], cache, empty),
            "tokenizer": Command(["set-tokenizer", out, other], parent, with_export),
        }[name]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *(["verified"] if HAS_TRANSFORMERS else [])])
def test_signals_at_any_moment(command, name, random):
    tried = command(name)
    tried.prepare()
    whole = tried.run()
    assert whole.status == 0, whole.errors
    expected = {*whole.errors.splitlines()}
    for moment in range(max(len(WAYS), MOMENTS // len(NAMES))):
        sent = WAYS[moment % len(WAYS)]
        tried.prepare()
        done = tried.interrupted(sent, random.random() * whole.seconds)
        case = f"{name}, {[number.name for number in sent]}: {done}"
        if not is_of_interpreter(done.errors):
            by_force = [128 + number for number in sent]  # where the machine is busy
            assert -done.status in (0, *sent) or done.status in by_force, case
            assert len({*done.errors.splitlines()} - expected) <= 1, case
            assert "Traceback" not in done.errors, case
        assert done.seconds < 30, case  # far more than promised: the machine may be busy
        if signal.SIGKILL not in sent:
            assert tried.half_written() == [], case
        else:
            again = tried.run()
            assert again.status == 0, (case, again)
            assert tried.half_written() == [], (case, again)
