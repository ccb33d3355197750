"""The real commands with closed and full streams, odd names and folders that are not there."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_checkpoint import write_small_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime.cli.main import build_parser

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")

PROGRAM = f"{shlex.quote(sys.executable)} -m gptneo_onnx"
ERROR = "gptneo-onnx: error: "
FULL = "standard output cannot be written: No space left on device"
CLOSED = "standard output cannot be written: it is closed"
NOT_UTF8 = os.fsdecode(b"n\xff")
# Every command, where it needs no more than a model and texts.
COMMANDS = {
    "info": "info MODEL",
    "info as JSON": "info MODEL --json",
    "generate": "generate MODEL It -n 2",
    "generate as JSON": "generate MODEL It -n 2 --json",
    "prompts": "generate MODEL --prompts TEXT -n 2",
    "embed": "embed MODEL TEXT",
    "perplexity": "perplexity MODEL TEXT",
    "perplexity as JSON": "perplexity MODEL TEXT --json",
    "compare": "compare MODEL MODEL --text TEXT",
    "check": "check CHECKPOINT",
    "export": "export CHECKPOINT OUT --force",
    "set-tokenizer": "set-tokenizer OTHER CHECKPOINT",
    "cache": "cache list",
    "doctor": "doctor",
    "version": "--version",
    "help": "--help",
    **{
        f"help of {name}": f"{name} --help"
        for names in build_parser().groups.values()
        for name in names
    },
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    write_small_checkpoint(folder / "checkpoint", np.random.default_rng(5))
    for name in ("model", "other"):
        export_model(folder / "checkpoint", folder / name)
    (folder / "text").write_text("It was.\n")
    names = {"MODEL": "model", "OTHER": "other", "CHECKPOINT": "checkpoint", "TEXT": "text"}
    return {word: str(folder / name) for word, name in {**names, "OUT": "out"}.items()}


def shell(line, paths, redirection="", **options):
    """Run a command line in a shell: (status, standard output, standard error)."""
    for word, path in paths.items():
        line = line.replace(word, shlex.quote(path))
    result = subprocess.run(
        ["/bin/bash", "-c", f"{PROGRAM} {line} {redirection}"],
        capture_output=True,
        timeout=100,
        check=False,
        **{"stdin": subprocess.DEVNULL, **options},
    )
    return result.returncode, result.stdout.decode(), result.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_output_is_an_error(paths, name):
    status, _, error = shell(COMMANDS[name], paths, ">/dev/full")
    assert (status, error.splitlines()[-1]) == (2, f"{ERROR}{FULL}")
    assert "Traceback" not in error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["info", "generate", "perplexity as JSON", "version", "help"])
def test_a_closed_output_is_an_error(paths, name):
    status, _, error = shell(COMMANDS[name], paths, ">&-")
    assert (status, error) == (2, f"{ERROR}{CLOSED}\n")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("info MODEL", 0),
        ("generate MODEL It -n 2", 0),
        ("export CHECKPOINT OUT --force", 0),
        ("info nowhere", 2),
        ("generate MODEL It --temperature nan", 2),
        ("generate --no-such-option", 2),
        ("", 2),
    ],
)
def test_an_error_output_that_takes_nothing_changes_no_status(paths, line, status, redirection):
    done, output, error = shell(line, paths, redirection)
    assert (done, error) == (status, "")
    assert bool(output) == (status == 0)


def test_everything_may_be_closed(paths):
    assert shell("info MODEL", paths, "<&- >&- 2>&-") == (2, "", "")
    assert shell("info nowhere", paths, "<&- >&- 2>&-") == (2, "", "")


def test_what_is_logged_gets_into_no_file(paths, tmp_path):
    """A closed descriptor's number is the next file's, and libraries log to number 2."""
    paths = {**paths, "OUT": str(tmp_path / "out")}
    assert shell("export CHECKPOINT OUT", paths, "<&- 2>&- >/dev/null")[0] == 0
    for name in ("model.onnx", "model.onnx_data"):
        expected = (Path(paths["MODEL"]) / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == expected


# Files that must not be waited for, and streams that are read.


@pytest.mark.parametrize("path", ["PIPE", "/dev/zero", "FOLDER"])
@pytest.mark.parametrize(
    "line",
    [
        "generate MODEL It --json-schema NAMED",
        "generate MODEL It --grammar NAMED",
        "generate MODEL --prompts NAMED",
        "perplexity MODEL NAMED",
        "perplexity MODEL TEXT --resume NAMED",
        "embed MODEL NAMED",
        "compare MODEL MODEL --text NAMED",
        "export CHECKPOINT OUT --force --precision int8 --calibrate NAMED",
    ],
)
@pytest.mark.slow
def test_what_is_no_regular_file_is_refused_at_once(paths, tmp_path, line, path):
    os.mkfifo(tmp_path / "pipe")
    named = {"PIPE": str(tmp_path / "pipe"), "FOLDER": str(tmp_path)}.get(path, path)
    status, output, error = shell(line.replace("NAMED", shlex.quote(named)), paths)
    assert (status, output) == (2, "")
    assert error.startswith(ERROR)
    assert error.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
@pytest.mark.parametrize(
    "line",
    [
        "generate MODEL --prompts <(echo It) -n 2",
        "generate MODEL It --json-schema <(echo '{}') -n 2 || [ $? = 3 ]",
        "perplexity MODEL <(echo It was)",
        "embed MODEL <(echo It was)",
    ],
)
def test_a_stream_of_the_shell_is_read(paths, line):
    status, output, _ = shell(line, paths)
    assert status == 0
    assert output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("perplexity MODEL -", "standard input has more than 268435456 bytes"),
        ("perplexity MODEL /dev/stdin", "/dev/stdin has more than 268435456 bytes"),
        ("generate MODEL -n 2", "standard input has 268435456 characters or more"),
        ("generate MODEL It --grammar /dev/stdin", "/dev/stdin has more than 1048576 bytes"),
    ],
)
@pytest.mark.slow
def test_an_input_without_an_end_is_read_up_to_a_bound(paths, line, said):
    with Path("/dev/zero").open("rb") as zeros:
        status, _, error = shell(line, paths, stdin=zeros)
    assert status == 2
    assert said in error


# Names, and folders that are not there.


def test_names_that_are_not_utf8(paths, tmp_path):
    text = tmp_path / NOT_UTF8
    text.write_text("It was.")
    status, output, error = shell("perplexity MODEL TEXT --json", {**paths, "TEXT": str(text)})
    assert (status, error) == (0, "")
    assert json.loads(output)["documents"] == 1
    out = {**paths, "OUT": str(tmp_path / f"out{NOT_UTF8}")}
    status, output, error = shell("export CHECKPOINT OUT --json", out)
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert "which is not UTF-8, and ONNX Runtime could not open the export" in error
    moved = tmp_path / f"model{NOT_UTF8}"
    moved.symlink_to(paths["MODEL"])
    status, output, _ = shell("info MODEL --json", {**paths, "MODEL": str(moved)})
    assert json.loads(output)["precision"] == "fp32"
    status, output, _ = shell("generate MODEL It -n 2", {**paths, "MODEL": str(moved)})
    assert (status, output.startswith("It")) == (0, True)
    environment = {**os.environ, "GPTNEO_ONNX_CACHE": str(tmp_path / f"cache{NOT_UTF8}")}
    status, output, error = shell("cache list --json", paths, env=environment)
    assert (status, error) == (0, "")
    assert json.loads(output)["exports"] == []


@pytest.mark.parametrize(
    ("changes", "line", "status"),
    [
        ({"HOME": None, "GPTNEO_ONNX_CACHE": None}, "generate MODEL It -n 2", 0),
        ({"HOME": "/proc/no", "GPTNEO_ONNX_CACHE": None}, "generate MODEL It -n 2", 0),
        ({"HOME": "/proc/no", "GPTNEO_ONNX_CACHE": None}, "generate CHECKPOINT It -n 2", 2),
        ({"GPTNEO_ONNX_CACHE": "/dev/null"}, "generate CHECKPOINT It -n 2", 2),
        ({"GPTNEO_ONNX_CACHE": "/dev/null"}, "generate MODEL It -n 2", 0),
        ({"GPTNEO_ONNX_CACHE": "/dev/null"}, "cache list", 0),
        ({"TMPDIR": "/nowhere"}, "generate MODEL It -n 2", 0),
        ({"TMPDIR": "/nowhere"}, "export CHECKPOINT OUT --force", 0),
    ],
)
def test_folders_of_the_user_that_are_not_there(paths, changes, line, status):
    environment = {**os.environ, **{k: v for k, v in changes.items() if v is not None}}
    for name in (name for name, value in changes.items() if value is None):
        environment.pop(name, None)
    environment.pop("XDG_CACHE_HOME", None)
    done, _, error = shell(line, paths, env=environment)
    assert done == status, error
    assert "Traceback" not in error
    if status:
        assert "cannot be written: " in error


@pytest.mark.parametrize(
    ("line", "status"),
    [("generate MODEL It -n 2", 0), ("info MODEL", 0), ("export CHECKPOINT out", 2)],
)
def test_a_current_folder_that_was_removed(paths, tmp_path, line, status):
    (tmp_path / "gone").mkdir()
    for word, path in paths.items():
        line = line.replace(word, shlex.quote(path))
    script = f"cd {shlex.quote(str(tmp_path / 'gone'))} && rmdir ../gone && {PROGRAM} {line}"
    result = subprocess.run(["/bin/bash", "-c", script], capture_output=True, check=False)
    assert result.returncode == status
    if status:
        expected = f"{ERROR}the current folder was removed; change to another one\n"
        assert result.stderr.decode() == expected
