"""`gptneo-onnx cache` lists and removes the exports that were made on demand."""

import json
import os
import shutil
import time

import pytest
from fake_hub_cache import cache_files
from small_checkpoint import write_small_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.embedded import embedded_model

HUB_ID = "owner/small"
DAY = 86400


@pytest.fixture
def run(capsys):
    """Run `cache` with arguments: what it prints."""

    def run_here(*arguments):
        assert main(["cache", *arguments]) == 0
        return capsys.readouterr().out

    return run_here


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_small_checkpoint(tmp_path / "checkpoint", random)


def load(model, precision=None):
    return GPTNeoForCausalLM.from_pretrained(model, precision=precision).engine.path


def removed(output):
    return json.loads(output)["removed"]


def test_path_is_the_cache_folder(run, cache):
    assert run("path") == f"{cache}\n"
    assert json.loads(run("path", "--json")) == {"path": str(cache)}


def test_an_empty_cache(run, cache):
    assert run("list") == f"{cache} has no exports\n"
    assert json.loads(run("list", "--json"))["exports"] == []
    assert run("prune") == "removed 0 exports, 0 bytes\n"
    assert not cache.exists()


def test_list_shows_every_export(run, cache, checkpoint, tmp_path):
    snapshot = cache_files(tmp_path / "hub", HUB_ID, checkpoint)
    paths = [load(checkpoint, "int8"), load(HUB_ID), embedded_model()]
    entries = json.loads(run("list", "--json"))["exports"]
    assert {entry["path"] for entry in entries} == {str(path) for path in paths}
    by_path = {entry["path"]: entry for entry in entries}
    first, second, third = (by_path[str(path)] for path in paths)
    assert (first["model"], first["precision"]) == (str(checkpoint), "int8")
    assert first["size"] == sum(path.stat().st_size for path in paths[0].iterdir())
    assert (second["model"], second["commit"]) == (HUB_ID, snapshot.name)
    assert (third["model"], third["precision"]) == ("the embedded model", "fp32")
    table = run("list")
    for entry in entries:
        assert entry["model"] in table
        assert entry["path"] in table
    assert table.splitlines()[0].split() == ["MODEL", "PRECISION", "SIZE", "LAST", "USED", "PATH"]
    assert table.splitlines()[-1].startswith("3 exports, 24")


def test_the_last_used_come_first(run, cache, checkpoint):
    older, newer = load(checkpoint), load(checkpoint, "int8")
    for path, age in ((older, 3), (newer, 2)):
        then = time.time() - age * DAY
        os.utime(path.parent / f".{path.name}.json", (then, then))

    def order():
        return [entry["path"] for entry in json.loads(run("list", "--json"))["exports"]]

    assert order() == [str(newer), str(older)]
    load(checkpoint)
    assert order() == [str(older), str(newer)]


def test_prune_removes_what_would_not_be_found_again(run, cache, checkpoint, tmp_path, random):
    gone = write_small_checkpoint(tmp_path / "gone", random)
    changed = write_small_checkpoint(tmp_path / "changed", random)
    cache_files(tmp_path / "hub", HUB_ID, checkpoint)
    kept = [load(checkpoint), embedded_model()]
    doomed = [load(gone), load(changed), load(HUB_ID), load(checkpoint, "int8")]
    shutil.rmtree(gone)
    write_small_checkpoint(changed, random)
    snapshot = cache_files(tmp_path / "hub", HUB_ID, checkpoint, "v2")
    (snapshot.parent.parent / "refs/main").write_text(snapshot.name)
    record = doomed[3].parent / f".{doomed[3].name}.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format_version": 0}))

    would = removed(run("prune", "--dry-run", "--json"))
    assert all(path.is_dir() for path in [*kept, *doomed])
    assert {entry["path"] for entry in would} == {str(path) for path in doomed}
    output = run("prune")
    for path, reason in zip(
        doomed,
        ("is no longer there", "was changed", "has a newer commit", "format 0, and this version"),
        strict=True,
    ):
        [line] = [line for line in output.splitlines() if str(path) in line]
        assert line.startswith("removed ")
        assert reason in line
        assert not path.exists()
    assert "removed 4 exports, " in output.splitlines()[-1]
    assert all(path.is_dir() for path in kept)
    assert len([*kept[0].parent.iterdir()]) == 4  # each with its record
    assert load(changed).is_dir()


def test_prune_by_age(run, cache, checkpoint):
    old, new = load(checkpoint), load(checkpoint, "int8")
    then = time.time() - 31 * DAY
    os.utime(old.parent / f".{old.name}.json", (then, then))
    assert removed(run("prune", "--older-than", "40", "--json")) == []
    [entry] = removed(run("prune", "--older-than", "30", "--json"))
    assert (entry["path"], entry["reason"]) == (str(old), "last used 31 days ago")
    assert not old.exists()
    assert new.is_dir()


def test_prune_all(run, cache, checkpoint):
    load(checkpoint)
    earlier = export_model(EMBEDDED_CHECKPOINT, cache / "embedded-1-3dca1a26ace4")
    (load(checkpoint, "int8").parent / "not-ours").mkdir()
    output = run("prune", "--all")
    assert "removed 4 exports, 24" in output
    assert str(earlier) in output
    assert not [*(cache / "exports").iterdir()]
    assert load(checkpoint).is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--all"], "--all is for prune; leave it out with list"),
        (["path", "--older-than", "3"], "--older-than is for prune; leave it out with path"),
        (["list", "--dry-run"], "--dry-run is for prune"),
        (["prune", "--older-than", "-1"], "--older-than is -1; 0 days or more are allowed"),
        (["prune", "--older-than", "nan"], "--older-than is nan; 0 days or more are allowed"),
    ],
)
def test_options_of_another_action(cache, capsys, arguments, message):
    assert main(["cache", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
