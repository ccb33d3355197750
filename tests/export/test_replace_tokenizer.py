"""set_tokenizer writes what an export with that tokenizer has, and nothing else."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from fake_hub_cache import cache_files
from refusals import refused
from wild_tokenizer import write_json, write_vocabulary

from gptneo_onnx.export import export_model, replace_directory, set_tokenizer
from gptneo_onnx.models import ExportError, InputError, ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer, pipeline
from gptneo_onnx.runtime.cli.main import main

SHAPE = Shape(vocab_size=300, hidden_size=16, num_heads=2, layers=("global", "local"))
TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json"}


@pytest.fixture
def checkpoint(tmp_path, random):
    """A checkpoint without a tokenizer."""
    return write_checkpoint(tmp_path / "checkpoint", SHAPE, random)


@pytest.fixture
def tokenizer(tmp_path):
    directory = write_vocabulary(tmp_path / "tokenizer", add_bos_token=True)
    (directory / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    return directory


@pytest.fixture
def other_tokenizer(tmp_path):
    return write_vocabulary(tmp_path / "other", has_end=False, model_max_length=77)


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


KINDS = [
    {"graph": "fused"},
    {"graph": "portable"},
    {"graph": "genai"},
    {"graph": ("fused", "portable", "genai")},
    {"graph": "fused", "precision": "int8", "hidden_states": "all"},
    {"layout": "transformers.js", "precision": ("fp32", "int8")},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_result_is_what_an_export_with_the_tokenizer_writes(
    checkpoint, tokenizer, other_tokenizer, tmp_path, kind
):
    expected = export_model(checkpoint, tmp_path / "expected", tokenizer=tokenizer, **kind)
    without = export_model(checkpoint, tmp_path / "without", **kind)
    another = export_model(checkpoint, tmp_path / "another", tokenizer=other_tokenizer, **kind)
    for out in (without, another):
        assert contents(out) != contents(expected)
        assert set_tokenizer(out, str(tokenizer)) == str(tokenizer)
        assert contents(out) == contents(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["another", "checkpoint", "expected", "other", "tokenizer", "without"]
    )


WATCHED = """
import sys
from gptneo_onnx.export import set_tokenizer
sys.addaudithook(lambda event, args: event == "open" and print(args[0]))
set_tokenizer(*sys.argv[1:])
"""


def test_weights_are_the_same_files_and_are_not_opened(checkpoint, tokenizer, tmp_path):
    out = export_model(checkpoint, tmp_path / "out")
    before = {path.name: path.stat().st_ino for path in out.iterdir()}
    opened = subprocess.check_output(
        [sys.executable, "-c", WATCHED, str(out), str(tokenizer)], text=True
    )
    assert "tokenizer.json" in opened
    assert "model.onnx" not in opened
    after = {path.name: path.stat().st_ino for path in out.iterdir()}
    unchanged = before.keys() - {"gptneo_onnx.json"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert all(path.stat().st_nlink == 1 for path in out.iterdir())
    assert Tokenizer.from_pretrained(out).encode("hello")[0] == 266


def test_it_generates_text_afterwards(checkpoint, tokenizer, tmp_path):
    out = export_model(checkpoint, tmp_path / "out")
    with refused(ModelFileError, "gptneo-onnx set-tokenizer"):
        pipeline("text-generation", model=out)
    set_tokenizer(out, tokenizer)
    [result] = pipeline("text-generation", model=out)("hello", max_new_tokens=3, seed=1)
    assert result["generated_text"].startswith("hello")


def test_other_files_of_the_directory_stay(checkpoint, tokenizer, tmp_path):
    out = export_model(checkpoint, tmp_path / "out")
    (out / "README.md").write_text("a card")
    (out / ".git").mkdir()
    (out / ".git" / "HEAD").write_text("ref")
    out.chmod(0o750)
    link = tmp_path / "link"
    link.symlink_to(out, target_is_directory=True)
    set_tokenizer(link, tokenizer)
    assert link.is_symlink()
    assert (out / "README.md").read_text() == "a card"
    assert (out / ".git" / "HEAD").read_text() == "ref"
    assert out.stat().st_mode & 0o777 == 0o750


class TestAnExportOfOptimum:
    """It has no manifest, and files of its tokenizer that ours do not have."""

    @pytest.fixture
    def out(self, checkpoint, other_tokenizer, tmp_path):
        ours = export_model(checkpoint, tmp_path / "out", graph="portable")
        (ours / "gptneo_onnx.json").unlink()
        for path in other_tokenizer.iterdir():
            if path.name != "config.json":
                shutil.copy(path, ours)
        write_json(ours / "special_tokens_map.json", {"pad_token": "h"})
        write_json(ours / "added_tokens.json", {"<more>": 280})
        (ours / "additional_chat_templates").mkdir()
        (ours / "additional_chat_templates" / "rag.jinja").write_text("{{ 1 }}")
        return ours

    def test_has_the_new_tokenizer_alone(self, checkpoint, tokenizer, tmp_path, out):
        expected = export_model(checkpoint, tmp_path / "expected", tokenizer=tokenizer)
        before = contents(out)
        set_tokenizer(out, tokenizer)
        after = contents(out)
        graphs = {"model.onnx", "model.onnx_data", "config.json", "generation_config.json"}
        assert after.keys() == graphs | TOKENIZER_FILES
        assert {name: after[name] for name in graphs} == {name: before[name] for name in graphs}
        for name in TOKENIZER_FILES:
            assert after[name] == contents(expected)[name]

    def test_can_be_its_own_source(self, tokenizer, out):
        before = Tokenizer.from_pretrained(out)
        set_tokenizer(out, out)
        after = Tokenizer.from_pretrained(out)
        assert after.get_vocab() == before.get_vocab()
        assert after.special_tokens_map == before.special_tokens_map

    @pytest.mark.parametrize("moment", range(12))
    def test_an_error_at_any_moment_leaves_one_tokenizer_or_none(
        self, tokenizer, out, monkeypatch, moment
    ):
        texts = {"hello", "h"}
        old, new = Tokenizer.from_pretrained(out), Tokenizer.from_pretrained(tokenizer)
        interrupt_changes(monkeypatch, moment)
        with contextlib.suppress(KeyboardInterrupt):
            set_tokenizer(out, tokenizer)
        monkeypatch.undo()
        GPTNeoForCausalLM.from_pretrained(out, device="cpu")
        try:
            found = Tokenizer.from_pretrained(out)
        except ModelFileError:
            assert moment > 0
            return
        ids = {text: found.encode(text) for text in texts}
        assert ids in [{text: each.encode(text) for text in texts} for each in (old, new)]
        assert found.special_tokens_map in (old.special_tokens_map, new.special_tokens_map)


def interrupt_changes(monkeypatch, moment):
    """Interrupt the change of a directory that comes after `moment` others."""
    done = []

    def counted(change):
        def changed(*args, **kwargs):
            done.append(None)
            if len(done) > moment:
                raise KeyboardInterrupt
            return change(*args, **kwargs)

        return changed

    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))


KILLED = """
import sys
from gptneo_onnx.export import set_tokenizer
print("ready", flush=True)
while True:
    for tokenizer in sys.argv[2:]:
        set_tokenizer(sys.argv[1], tokenizer)
"""


@pytest.mark.slow
def test_a_kill_leaves_the_old_tokenizer_or_the_new(
    checkpoint, tokenizer, other_tokenizer, tmp_path, random
):
    out = export_model(checkpoint, tmp_path / "out")
    both = (tokenizer, other_tokenizer)
    texts = [Tokenizer.from_pretrained(each).get_vocab() for each in both]
    for _ in range(8):
        command = [sys.executable, "-c", KILLED, str(out), *map(str, both)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        process.stdout.readline()
        time.sleep(0.05 + random.random() * 0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        GPTNeoForCausalLM.from_pretrained(out, device="cpu")
        assert Tokenizer.from_pretrained(out).get_vocab() in texts


def test_without_a_swap_in_one_step_the_result_is_the_same(
    checkpoint, tokenizer, tmp_path, monkeypatch
):
    expected = export_model(checkpoint, tmp_path / "expected", tokenizer=tokenizer)
    out = export_model(checkpoint, tmp_path / "out")
    monkeypatch.setattr(replace_directory, "_swapped", lambda *paths: False)
    set_tokenizer(out, tokenizer)
    assert contents(out) == contents(expected)


def test_an_export_that_cannot_be_written_is_as_it_was(
    checkpoint, tokenizer, tmp_path, monkeypatch
):
    out = export_model(checkpoint, tmp_path / "out")
    before = contents(out)

    def fail(*arguments, **options):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("gptneo_onnx.export.replace_tokenizer.os.link", fail)
    with refused(ExportError, "out cannot be written: its files cannot be linked"):
        set_tokenizer(out, tokenizer)
    assert contents(out) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


class TestRefusals:
    def test_of_a_tokenizer_with_more_ids_than_the_model(self, tmp_path, random, tokenizer):
        shape = Shape(vocab_size=200, hidden_size=16, num_heads=2, layers=("global",))
        checkpoint = write_checkpoint(tmp_path / "checkpoint", shape, random)
        out = export_model(checkpoint, tmp_path / "out")
        before = contents(out)
        message = "tokenizer has 267 ids, and the model's vocabulary 200: texts with tokens"
        for dry_run in (True, False):
            with refused(InputError, message):
                set_tokenizer(out, tokenizer, dry_run=dry_run)
        assert contents(out) == before

    def test_of_something_that_is_no_export(self, checkpoint, tokenizer, tmp_path):
        for wrong in ("not there", "x" * 5000):
            with refused(InputError, "is not a directory; name an exported model"):
                set_tokenizer(wrong, tokenizer)
        with refused(InputError, "has no graph: it is no exported model; make one with"):
            set_tokenizer(checkpoint, tokenizer)

    def test_of_something_that_is_no_tokenizer(self, checkpoint, tmp_path):
        out = export_model(checkpoint, tmp_path / "out")
        with refused(InputError, "which has neither tokenizer.json nor vocab.json"):
            set_tokenizer(out, checkpoint)
        with refused(InputError, "which is not a directory; pass a directory that holds"):
            set_tokenizer(out, "not there")

    def test_of_an_export_of_another_version(self, checkpoint, tokenizer, tmp_path):
        out = export_model(checkpoint, tmp_path / "out")
        write_json(out / "gptneo_onnx.json", {"format_version": 2})
        with refused(ModelFileError, "format_version is 2; this version reads 1"):
            set_tokenizer(out, tokenizer)


class TestTheCommand:
    def test_says_what_it_did(self, checkpoint, tokenizer, tmp_path, capsys):
        out = export_model(checkpoint, tmp_path / "out")
        before = contents(out)
        assert main(["set-tokenizer", str(out), str(tokenizer), "--dry-run"]) == 0
        assert capsys.readouterr().out == f"{out} would get the tokenizer of {tokenizer}\n"
        assert contents(out) == before
        assert main(["set-tokenizer", str(out), str(tokenizer)]) == 0
        assert capsys.readouterr().out == f"{out} has the tokenizer of {tokenizer}\n"
        assert json.loads((out / "gptneo_onnx.json").read_text())["files"].keys() >= TOKENIZER_FILES

    @pytest.mark.parametrize("hub_id", ["small", "owner/small"])
    def test_takes_a_hub_id_from_the_cache(self, checkpoint, tokenizer, tmp_path, hub_id):
        cache_files(tmp_path / "cache", hub_id, tokenizer, "v1")
        expected = export_model(checkpoint, tmp_path / "expected", tokenizer=tokenizer)
        out = export_model(checkpoint, tmp_path / "out")
        command = [sys.executable, "-m", "gptneo_onnx.runtime.cli.main", "set-tokenizer", str(out)]
        environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [*command, hub_id, "--revision", "v1"], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert contents(out) == contents(expected)

    def test_shows_errors_as_one_line(self, checkpoint, tmp_path, capsys):
        assert main(["set-tokenizer", str(checkpoint), str(tmp_path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
