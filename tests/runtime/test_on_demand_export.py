"""A checkpoint or a hub id is exported into the cache folder once, wherever a model is named."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from fake_hub_cache import cache_files
from refusals import refused
from small_checkpoint import write_small_checkpoint

import gptneo_onnx
from gptneo_onnx.export import export_model
from gptneo_onnx.models import ExportError, InputError, MissingDependencyError, ModelFileError
from gptneo_onnx.models.manifest import Manifest
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import GPTNeoForCausalLM, GPTNeoModel, pipeline
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.export_cache import cached_exports

HUB_ID = "owner/small"
CALL = {"do_sample": False, "max_new_tokens": 12}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the exports; it belongs to this test alone."""
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "exports"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Hugging Face's cache, without the package that fetches."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return tmp_path / "hub"


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_small_checkpoint(tmp_path / "checkpoint", random)


def text_of(model, **options):
    return pipeline("text-generation", model=model, **options)("It was", **CALL)


def exports(cache):
    """The exports of the folder, and nothing but their records beside them."""
    names = sorted(path.name for path in cache.iterdir())
    directories = [name for name in names if not name.startswith(".")]
    assert sorted(names) == sorted([*directories, *(f".{name}.json" for name in directories)])
    return [cache / name for name in directories]


def times(directory):
    return {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}


@pytest.mark.parametrize("form", [str, Path])
def test_a_checkpoints_text_is_that_of_its_export(cache, checkpoint, tmp_path, form, capsys):
    expected = text_of(export_model(checkpoint, tmp_path / "export"))
    assert text_of(form(checkpoint)) == expected
    [export] = exports(cache)
    lines = capsys.readouterr().err.splitlines()
    [line] = [line for line in lines if line.startswith("exporting ")]
    assert re.fullmatch(rf"exporting {checkpoint} in fp32 \(\d+ kB\) to {export}", line)
    before = times(export)
    assert text_of(form(checkpoint)) == expected
    assert times(export) == before
    assert capsys.readouterr().err == ""
    for path in export.iterdir():
        made = tmp_path / "export" / path.name
        assert path.read_bytes() == made.read_bytes(), path.name


def test_the_second_time_no_weights_are_read(cache, checkpoint):
    """They are overwritten by bytes that are no weights, of the same size and time."""
    expected = text_of(checkpoint)
    weights = checkpoint / "model.safetensors"
    status = weights.stat()
    weights.write_bytes(b"\xff" * status.st_size)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert text_of(checkpoint) == expected


def test_a_folder_is_the_same_by_any_path(cache, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("checkpoint")
    for name in ("checkpoint", "./checkpoint", checkpoint, "link"):
        GPTNeoForCausalLM.from_pretrained(name)
    assert len(exports(cache)) == 1


def test_the_precision_is_chosen(cache, checkpoint, tmp_path):
    export = export_model(checkpoint, tmp_path / "export", precision="int8")
    assert text_of(checkpoint, precision="int8") == text_of(export)
    model = GPTNeoForCausalLM.from_pretrained(checkpoint, precision="fp32,int4")
    assert Manifest.read(model.engine.path).numbers.precision.value == "fp32"
    assert model.generate([[1, 2]], assistant_model="int4", max_new_tokens=3).shape == (1, 5)
    assert len(exports(cache)) == 2
    with refused(InputError, "precision is 'fp32', and .* has int8; name one of these"):
        GPTNeoForCausalLM.from_pretrained(export, precision="fp32")
    with refused(InputError, r"precision is 'int9'; one of .*int8"):
        GPTNeoForCausalLM.from_pretrained(checkpoint, precision="int9")
    assert len(exports(cache)) == 2


def test_a_changed_checkpoint_is_exported_anew(cache, checkpoint, random, capsys):
    first = GPTNeoForCausalLM.from_pretrained(checkpoint)
    write_small_checkpoint(checkpoint, random)
    second = GPTNeoForCausalLM.from_pretrained(checkpoint)
    assert first.engine.fingerprint != second.engine.fingerprint
    (checkpoint / "notes.md").write_text("no part of the model")
    third = GPTNeoForCausalLM.from_pretrained(checkpoint)
    assert third.engine.path == second.engine.path
    assert capsys.readouterr().err.count("exporting ") == 2


def test_every_name_of_a_model_takes_a_checkpoint(cache, checkpoint, tmp_path, random):
    features = GPTNeoModel.from_pretrained(checkpoint)
    assert gptneo_onnx.AutoModelForCausalLM.from_pretrained(checkpoint, trust_remote_code=False)
    assert gptneo_onnx.AutoModel.from_pretrained(str(checkpoint)).engine.path
    assert pipeline("feature-extraction", model=checkpoint)("It")
    assert pipeline(model=checkpoint)("It was", **CALL) == text_of(checkpoint)
    drafted = pipeline("text-generation", model=checkpoint, assistant_model=str(checkpoint))
    assert drafted("It was", **CALL) == text_of(checkpoint)
    assert exports(cache) == [features.engine.path]
    for head, name in (
        (Head.SEQUENCE_CLASSIFICATION, "AutoModelForSequenceClassification"),
        (Head.TOKEN_CLASSIFICATION, "AutoModelForTokenClassification"),
        (Head.QUESTION_ANSWERING, "AutoModelForQuestionAnswering"),
    ):
        other = write_small_checkpoint(tmp_path / name, random, head)
        model = getattr(gptneo_onnx, name).from_pretrained(other)
        assert pipeline(model=other).model.engine.path == model.engine.path
    assert len(exports(cache)) == 4


def test_a_checkpoint_without_the_head_is_refused_before_it_is_exported(cache, checkpoint):
    message = "no tensor score.weight, which task text-classification needs"
    with refused(InputError, message):
        pipeline("text-classification", model=checkpoint)
    assert main(["classify", str(checkpoint), "It"]) == 2
    assert not list(cache.glob("*"))


def test_a_hub_id_is_taken_from_the_cache(cache, hub, checkpoint, capsys):
    snapshot = cache_files(hub, HUB_ID, checkpoint)
    expected = text_of(checkpoint)
    capsys.readouterr()
    assert text_of(HUB_ID) == expected
    assert f"exporting {HUB_ID} in fp32" in capsys.readouterr().err
    assert text_of(HUB_ID, revision=snapshot.name, local_files_only=True) == expected
    shutil.rmtree(hub)  # the export serves without the checkpoint
    assert text_of(HUB_ID) == expected
    assert capsys.readouterr().err == ""
    assert [path.name.startswith("owner--small-fp32-") for path in exports(cache)].count(True) == 1
    with refused(InputError, "owner/small is neither a directory nor in the cache"):
        text_of(HUB_ID, precision="int8")


def test_a_new_commit_is_exported_anew(cache, hub, checkpoint, tmp_path, random):
    cache_files(hub, HUB_ID, checkpoint)
    first = GPTNeoForCausalLM.from_pretrained(HUB_ID)
    newer = write_small_checkpoint(tmp_path / "newer", random)
    snapshot = cache_files(hub, HUB_ID, newer, revision="v2")
    by_name = GPTNeoForCausalLM.from_pretrained(HUB_ID, revision="v2")
    (snapshot.parent.parent / "refs/main").write_text(snapshot.name)
    second = GPTNeoForCausalLM.from_pretrained(HUB_ID)
    assert second.engine.path == by_name.engine.path != first.engine.path


def test_arguments_say_where_a_hub_id_is(cache, hub, checkpoint, tmp_path):
    cache_files(tmp_path / "other", HUB_ID, checkpoint, "v2", subfolder="inner")
    arguments = {"cache_dir": tmp_path / "other", "revision": "v2", "token": "secret"}
    with refused(InputError, "has no|neither"):
        GPTNeoForCausalLM.from_pretrained(HUB_ID)
    GPTNeoForCausalLM.from_pretrained(HUB_ID, subfolder="inner", **arguments)
    assert "secret" not in "".join(path.read_text() for path in cache.glob(".*.json"))
    with pytest.raises(InputError, match="has no argument 'revison'; it has revision"):
        GPTNeoForCausalLM.from_pretrained(HUB_ID, revison="v2")


def test_an_export_in_the_hubs_cache_is_loaded_as_it_is(cache, hub, checkpoint, tmp_path):
    export = export_model(checkpoint, tmp_path / "export", precision="int8")
    snapshot = cache_files(hub, HUB_ID, export)
    model = GPTNeoForCausalLM.from_pretrained(HUB_ID)
    assert model.engine.path == snapshot
    assert not cache.exists()


def test_export_says_whether(cache, checkpoint):
    with refused(InputError, "is a checkpoint; export it first"):
        GPTNeoForCausalLM.from_pretrained(checkpoint, export=False)
    (checkpoint / "model.onnx").write_bytes(b"no graph")
    with refused(ModelFileError, r"model\.onnx"):
        GPTNeoForCausalLM.from_pretrained(checkpoint)
    path = GPTNeoForCausalLM.from_pretrained(checkpoint, export=True).engine.path
    assert path in exports(cache)
    with refused(ModelFileError, "is an export, not a checkpoint"):
        GPTNeoForCausalLM.from_pretrained(path, export=True)


def test_other_folders_keep_their_messages(cache, checkpoint, tmp_path):
    (checkpoint / "model.safetensors").unlink()
    with refused(ModelFileError, "holds no weights: fetch model.safetensors"):
        GPTNeoForCausalLM.from_pretrained(checkpoint)
    (checkpoint / "config.json").unlink()
    with refused(InputError, "is not an exported model: it has neither"):
        GPTNeoForCausalLM.from_pretrained(checkpoint)
    assert not list(cache.glob("*"))


SCRIPT = """
import sys
from gptneo_onnx.runtime import pipeline
print(pipeline("text-generation", model=sys.argv[1])("It was", do_sample=False, max_new_tokens=12))
"""


def test_of_processes_that_start_together_one_exports(cache, checkpoint):
    command = [sys.executable, "-c", SCRIPT, str(checkpoint)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(3)]
    results = [process.communicate() for process in running]
    assert len({output for output, _ in results}) == 1
    assert results[0][0] == f"{text_of(checkpoint)}\n"
    assert "".join(error for _, error in results).count("exporting ") == 1
    assert len(exports(cache)) == 1


KILLED = """
import os, signal, sys
import gptneo_onnx.export.exporter as exporter
from gptneo_onnx.runtime import GPTNeoForCausalLM

def kill(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

exporter._declare = kill  # the weights are written then, and the directory has not its name yet
GPTNeoForCausalLM.from_pretrained(sys.argv[1])
"""


def test_what_a_killed_process_left_is_removed(cache, checkpoint, capsys):
    for again in ("load", "prune"):
        done = subprocess.run([sys.executable, "-c", KILLED, str(checkpoint)], capture_output=True)
        assert done.returncode == -signal.SIGKILL
        [partial] = cache.glob(".*.partial-*")
        assert (partial / "new" / "model.onnx_data").stat().st_size > 0
        assert cached_exports() == []
        if again == "load":
            text_of(checkpoint)
            assert f"removed {partial} (" in capsys.readouterr().err
            assert len(exports(cache)) == 1
            [*map(shutil.rmtree, exports(cache))]
        else:
            assert main(["cache", "prune"]) == 0
            assert not re.search(r"0 bytes$", capsys.readouterr().out)
            assert list(cache.iterdir()) == []


def test_a_failed_export_leaves_nothing(cache, checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with refused(ModelFileError, "model.safetensors"):
        GPTNeoForCausalLM.from_pretrained(checkpoint)
    assert list(cache.iterdir()) == []


def test_a_disk_that_is_too_small_is_said_before(cache, checkpoint, monkeypatch):
    usage = shutil.disk_usage(checkpoint)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    with refused(ExportError, r"takes \d+ kB in fp32, and the disk of .* has 1 kB left; take a"):
        GPTNeoForCausalLM.from_pretrained(checkpoint)
    assert list(cache.iterdir()) == []


def test_a_cache_folder_that_cannot_be_made(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", str(tmp_path / "file"))
    with refused(InputError, "cache folder .* cannot be written: .*; set GPTNEO_ONNX_CACHE"):
        GPTNeoForCausalLM.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "chekpoint",
            r"'chekpoint' is neither a directory nor a hub id .*did you mean checkpoint\?",
        ),
        ("gpt-neo-1.3B", r"did you mean EleutherAI/gpt-neo-1\.3B\?"),
        ("/no/where", "'/no/where' is neither a directory nor a hub id"),
        ("a b", "'a b' is neither"),
        ("x" * 5000, "is neither a directory nor a hub id"),
        ("x\0y", "is neither a directory nor a hub id"),
        ("", "'' is neither a directory nor a hub id"),
        ("EleutherAI/gpt-neo-125", r"neither a directory nor in the cache .*gpt-neo-125m\?"),
        ("owner/other", "nothing is fetched .*; fetch it without them, or pass the directory of"),
        ("checkpoint/config.json", "is a file; name the directory that it is in"),
    ],
)
def test_a_name_that_leads_nowhere(cache, hub, checkpoint, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with refused(InputError, message):
        GPTNeoForCausalLM.from_pretrained(name)
    assert not cache.exists()


def test_fetching_needs_a_package(cache, hub, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with refused(MissingDependencyError, "needs huggingface_hub: pip install huggingface_hub"):
        GPTNeoForCausalLM.from_pretrained("owner/other")


@pytest.fixture
def online(hub, monkeypatch):
    """A hub with a network: `answer` is what the client does; it remembers what was asked for."""

    def snapshot_download(hub_id, **arguments):
        module.asked.append((hub_id, arguments))
        return module.answer(arguments)

    module = types.ModuleType("huggingface_hub")
    module.snapshot_download, module.asked = snapshot_download, []
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return module


def without_weights(checkpoint, path):
    return shutil.copytree(checkpoint, path, ignore=shutil.ignore_patterns("*.safetensors"))


def test_with_the_network_weights_are_fetched_once(
    cache, hub, online, checkpoint, tmp_path, capsys
):
    small = without_weights(checkpoint, tmp_path / "small")
    snapshot = cache_files(hub, HUB_ID, small)

    def answer(arguments):
        if any("safetensors" in pattern for pattern in arguments["allow_patterns"]):
            shutil.copy(checkpoint / "model.safetensors", snapshot)
        return snapshot

    online.answer = answer
    expected = text_of(checkpoint)
    assert text_of(HUB_ID, token="secret", revision="main") == expected
    [first, second] = [arguments for _, arguments in online.asked]
    assert first["allow_patterns"] == ["config.json", "gptneo_onnx.json"]
    assert (first["revision"], second["revision"]) == ("main", snapshot.name)
    assert first["token"] == second["token"] == "secret"
    online.asked.clear()
    capsys.readouterr()
    assert text_of(HUB_ID) == expected
    assert len(online.asked) == 1  # which commit is it now?
    assert text_of(HUB_ID, revision=snapshot.name) == expected
    assert text_of(HUB_ID, local_files_only=True) == expected
    assert len(online.asked) == 1
    assert capsys.readouterr().err == ""


def test_where_the_network_fails_the_cache_serves(cache, hub, online, checkpoint):
    class RepositoryNotFoundError(Exception):
        pass

    def answer(arguments):
        raise RepositoryNotFoundError("404 Client Error")

    online.answer = answer
    with refused(InputError, r"there is no such repository, or it is private .*gpt-neo-125m\?"):
        GPTNeoForCausalLM.from_pretrained("EleutherAI/gpt-neo-125")
    cache_files(hub, HUB_ID, checkpoint)
    assert text_of(HUB_ID) == text_of(checkpoint)


def test_weights_that_are_not_in_the_cache(cache, hub, checkpoint, tmp_path):
    cache_files(hub, HUB_ID, without_weights(checkpoint, tmp_path / "small"))
    with refused(InputError, "the weights of owner/small are not in the cache .*hub, and nothing"):
        GPTNeoForCausalLM.from_pretrained(HUB_ID)
    assert list(cache.iterdir()) == []


def test_the_advice_can_be_typed(cache, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        GPTNeoForCausalLM.from_pretrained("checkpont")
    [name] = re.findall(r"did you mean (.*)\?", str(caught.value))
    assert text_of(name)
    for arguments in ({"export": False}, {"file_name": "portable.onnx"}):
        with pytest.raises(InputError) as caught:
            GPTNeoForCausalLM.from_pretrained("checkpoint", **arguments)
        command = shlex.split(str(caught.value).partition("gptneo-onnx ")[2])
        assert main(command) == 0
        arguments.pop("export", None)
        assert GPTNeoForCausalLM.from_pretrained("OUT", **arguments).engine.path == Path("OUT")
        shutil.rmtree("OUT")


def test_every_command_takes_a_hub_id(cache, hub, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cache_files(hub, HUB_ID, checkpoint)
    text = tmp_path / "text.txt"
    text.write_text("It was a truth universally acknowledged.")
    few = ["--no-do-sample", "-n", "5"]
    commands = [
        ["generate", HUB_ID, "It was", *few],
        ["generate", "-m", "./checkpoint", "-p", "It was", *few],
        ["generate", HUB_ID, "It was", *few, "--draft", HUB_ID],
        ["generate", HUB_ID, "It was", *few, "--precision", "fp32,int4", "--self-draft"],
    ]
    outputs = []
    for command in commands:
        assert main(command) == 0
        outputs.append(capsys.readouterr().out)
    assert len(set(outputs)) == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("It was"))
    for command in (
        ["generate", HUB_ID, "--interactive", *few],
        ["embed", HUB_ID, str(text)],
        ["perplexity", HUB_ID, str(text)],
        ["info", HUB_ID, "--precision", "int8"],
        ["compare", HUB_ID, "checkpoint", "--precision-b", "int8", "--text", str(text)],
    ):
        assert main(command) == 0, command
        assert capsys.readouterr().out
    precisions = [export.settings["precision"] for export in cached_exports()]
    assert sorted(precisions) == ["fp32", "fp32", "fp32,int4", "int8", "int8"]
    made = json.loads(next(cache.glob(".owner--small*.json")).read_text())
    assert made["source"]["hub_id"] == HUB_ID


def test_a_single_word_is_a_hub_id_if_it_is_in_the_cache(
    cache, hub, checkpoint, monkeypatch, capsys
):
    cache_files(hub, HUB_ID, checkpoint)
    done = subprocess.run(
        [sys.executable, "-m", "gptneo_onnx.runtime.cli.main", "generate", HUB_ID, "-n", "3"],
        input="It was",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("It was")
    assert main(["generate", "owner/other"]) == 2
    assert "owner/other is not a directory; name a model with -m" in capsys.readouterr().err
