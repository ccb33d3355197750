"""`gptneo-onnx check`, and `export --dry-run`: a table or JSON, and nothing is written."""

import json
import shlex
import shutil

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime.cli.check import WIDTH
from gptneo_onnx.runtime.cli.main import build_parser, main

OPTIONS = ["--precision", "int8", "--graph", "fused,portable"]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_a_table_of_80_columns_and_the_command_to_type(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, error = run(capsys, "check", EMBEDDED_CHECKPOINT, *OPTIONS)
    assert (status, error) == (0, "")
    *table, empty, verdict = out.splitlines()
    assert empty == ""
    assert all(len(line) <= WIDTH for line in table)
    for text in ("6 layers (3 local, window 64)", "model.safetensors (safetensors, 11.8 MB)",
                 "4 for generation", "portable.onnx", "about"):  # fmt: skip
        assert text in out
    assert verdict == f"ready to export: gptneo-onnx export {EMBEDDED_CHECKPOINT} OUT " + " ".join(
        OPTIONS
    )
    build_parser().parse_args(shlex.split(verdict)[4:])
    assert list(tmp_path.iterdir()) == []


def test_two_precisions_and_what_both_take_in_memory(capsys):
    options = ["--precision", "fp32,int4"]
    status, out, _ = run(capsys, "check", EMBEDDED_CHECKPOINT, *options)
    assert status == 0
    assert all(len(line) <= WIDTH for line in out.splitlines()[:-1])
    for text in ("fused; fp32, int4", "model.int4.onnx_data", "--self-draft"):
        assert text in out
    assert "OUT --precision fp32,int4" in out
    values = json.loads(run(capsys, "check", EMBEDDED_CHECKPOINT, *options, "--json")[1])
    assert values["run_memory"] < values["self_draft_memory"] < 2 * values["run_memory"]
    single = json.loads(run(capsys, "check", EMBEDDED_CHECKPOINT, "--json")[1])
    assert single["self_draft_memory"] is None


def test_json_is_one_object(capsys):
    status, out, _ = run(capsys, "check", EMBEDDED_CHECKPOINT, "--json", "--full")
    values = json.loads(out)
    assert status == 0
    assert values["ready"] is True
    assert values["not_finite"] == {}
    assert values["total"] == sum(values["files"].values())
    assert values["command"] == f"gptneo-onnx export {EMBEDDED_CHECKPOINT} OUT"


def test_a_dry_run_prints_the_same_and_writes_nothing(capsys, tmp_path):
    _, expected, _ = run(capsys, "check", EMBEDDED_CHECKPOINT, *OPTIONS)
    out_directory = tmp_path / "out"
    status, out, _ = run(
        capsys, "export", EMBEDDED_CHECKPOINT, out_directory, "--dry-run", *OPTIONS
    )
    assert status == 0
    assert out == expected.replace(" OUT ", f" {out_directory} ")
    assert not out_directory.exists()


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_refusal_is_the_exports(capsys, tmp_path, flags):
    shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    (tmp_path / "checkpoint/model.safetensors").unlink()
    expected = run(capsys, "export", tmp_path / "checkpoint", tmp_path / "out")
    assert run(capsys, "check", tmp_path / "checkpoint", *flags) == expected
    assert expected[0] == 2
    assert "holds no weights" in expected[2]


def test_optimums_graphs_have_no_size_yet(capsys):
    pytest.importorskip("optimum", reason="needs the optimum extra")
    status, _, error = run(capsys, "check", EMBEDDED_CHECKPOINT, "--exporter", "optimum")
    assert status == 2
    assert "exporter is 'optimum', whose graphs have no size before they are traced" in error


def test_text_of_files_cannot_write_to_the_terminal(capsys, tmp_path):
    shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    path = tmp_path / "checkpoint/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"\x1b[2Jodd": 1}))
    _, out, _ = run(capsys, "check", tmp_path / "checkpoint")
    assert "\\x1b[2Jodd" in out
    assert "\x1b" not in out
