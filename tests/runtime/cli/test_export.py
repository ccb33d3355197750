"""`gptneo-onnx export`: an export that is there, what to type next, and JSON."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest
from checkpoints import Shape, write_checkpoint
from heads import with_head

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.cli.next_command import next_command


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_twice_in_a_row_is_once(run, tmp_path):
    out = tmp_path / "out"
    status, first, _ = run("export", EMBEDDED_CHECKPOINT, out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = run("export", EMBEDDED_CHECKPOINT, out)
    summary, following = first.splitlines()
    assert status == 0
    assert again == (0, f"{summary} (up to date)\n{following}\n", "")
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_another_export_is_replaced_only_by_force(run, tmp_path):
    out = tmp_path / "out"
    export_model(EMBEDDED_CHECKPOINT, out)
    before = contents(out)
    command = ("export", EMBEDDED_CHECKPOINT, out, "--precision", "int8")
    for flags in ([], ["--dry-run"], ["--json"]):
        status, output, error = run(*command, *flags)
        assert (status, output) == (2, "")
        assert error.startswith(f"gptneo-onnx: error: {out} holds an export already")
        assert "pass --force" in error
        assert error.count("\n") == 1
        assert contents(out) == before
    assert run(*command, "--force")[0] == 0
    assert contents(out).keys() == before.keys()
    assert contents(out) != before


def test_json_is_one_object(run, tmp_path):
    out = tmp_path / "my model"
    command = ("export", EMBEDDED_CHECKPOINT, out, "--graph", "fused,portable", "--json")
    status, output, error = run(*command)
    assert (status, error, output.count("\n")) == (0, "", 1)
    values = json.loads(output)
    assert values["status"] == "exported"
    assert values["graphs"] == ["model.onnx", "portable.onnx"]
    assert values["precisions"] == ["fp32"]
    assert values["files"] == {path.name: path.stat().st_size for path in out.iterdir()}
    assert values["total"] == sum(values["files"].values())
    assert values["notes"] == []
    assert values["next"] == f'gptneo-onnx generate {shlex.quote(str(out))} "Once upon a time"'
    assert json.loads(run(*command)[1]) == values | {"status": "up to date"}


def test_notes_are_in_json_and_on_standard_error(run, tmp_path, random):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
    _, output, error = run("export", checkpoint, tmp_path / "out", "--json")
    assert json.loads(output)["notes"] == error.splitlines()
    assert "has no tokenizer" in error


def test_the_command_to_force_is_the_one_to_type(run, tmp_path):
    export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", precision="int4")
    command = ("export", EMBEDDED_CHECKPOINT, tmp_path / "out", "--force", "--dry-run")
    status, output, _ = run(*command)
    assert status == 0
    assert output.splitlines()[-1].endswith(" --force")


class TestNextCommand:
    def works(self, command, tmp_path):
        """Type the command in a shell, with this Python's gptneo-onnx."""
        program = f"{shlex.quote(sys.executable)} -m gptneo_onnx"
        line = command.replace("gptneo-onnx", program)
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, ["generate"]),
            ({"graph": ["genai", "portable"]}, ["generate", "--file-name", "portable.onnx"]),
            ({"task": "feature-extraction-with-past"}, ["embed", "-"]),
        ],
        ids=str,
    )
    def test_works(self, tmp_path, options, words):
        out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "my model", **options)
        command = next_command(out)
        assert command is not None
        assert set(words) <= {*shlex.split(command)}
        self.works(command, tmp_path)

    @pytest.mark.parametrize(
        ("head", "words"),
        [
            (Head.SEQUENCE_CLASSIFICATION, ["classify"]),
            (Head.TOKEN_CLASSIFICATION, ["classify"]),
            (Head.QUESTION_ANSWERING, ["classify", "--question"]),
        ],
    )
    def test_of_a_classifier_works(self, tmp_path, random, head, words):
        checkpoint = shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
        with_head(checkpoint, head, random)
        command = next_command(export_model(checkpoint, tmp_path / "out"))
        assert command is not None
        assert set(words) <= {*shlex.split(command)}
        self.works(command, tmp_path)

    def test_of_a_model_without_a_tokenizer_names_what_is_missing(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
        out = export_model(checkpoint, tmp_path / "out")
        assert next_command(out) == f"gptneo-onnx set-tokenizer {out} TOKENIZER"

    def test_of_bf16_names_the_device_that_has_it(self, tmp_path):
        out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", precision="bf16")
        assert str(next_command(out)).endswith("--device cuda")

    @pytest.mark.parametrize("options", [{"graph": "genai"}, {"layout": "transformers.js"}])
    def test_there_is_none_for_other_programs_exports(self, tmp_path, options):
        assert next_command(export_model(EMBEDDED_CHECKPOINT, tmp_path / "o", **options)) is None
