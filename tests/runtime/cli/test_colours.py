"""Colours and wrapped lines: on a real terminal alone, as the environment asks."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import run_in_terminal

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime.cli.colours import RED, coloured, coloured_help, has_colours
from gptneo_onnx.runtime.cli.terminal import is_terminal, wrapped

COMMAND = (sys.executable, "-m", "gptneo_onnx.runtime.cli.main")
ANSI = re.compile("\033\\[[0-9;]*m")


def piped(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"COLUMNS": "80"} | environment,
    )


def test_help_on_a_terminal_has_coloured_headings_and_options() -> None:
    status, shown = run_in_terminal([*COMMAND, "embed", "--help"])
    assert status == 0
    assert "\033[1musage\033[0m: gptneo-onnx embed MODEL" in shown
    assert "\n\033[1mtexts\033[0m:\n" in shown
    assert "\n  \033[36m-o, --out\033[0m FILE " in shown
    assert "\n\033[1mexamples\033[0m:\n  gptneo-onnx embed" in shown
    assert ANSI.sub("", shown) == piped("embed", "--help").stdout


def test_an_error_on_a_terminal_is_red_and_wraps_between_words() -> None:
    status, shown = run_in_terminal([*COMMAND, "info", "no/such/model"], width=60)
    assert status == 2
    assert shown.startswith("gptneo-onnx: \033[1;31merror:\033[0m 'no/such/model'")
    lines = ANSI.sub("", shown).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
    assert " ".join(lines) == piped("info", "no/such/model").stderr.strip()


WARNS = """
import sys, warnings
from gptneo_onnx.runtime.cli import doctor
from gptneo_onnx.runtime.cli.main import main
doctor.examine = lambda: warnings.warn("something\\nis slow") or []
sys.exit(main(["doctor"]))
"""


def test_a_warning_is_one_line_and_on_a_terminal_yellow() -> None:
    script = [sys.executable, "-c", WARNS]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "gptneo-onnx: warning: something is slow\n"
    assert run_in_terminal(script) == (
        0,
        "gptneo-onnx: \033[33mwarning:\033[0m something is slow\n",
    )


def test_the_short_help_on_a_terminal_has_colours() -> None:
    status, shown = run_in_terminal(COMMAND)
    assert status == 2
    assert "\033[1mmake a model\033[0m:\n" in shown


def test_what_doctor_says_wraps_between_words() -> None:
    status, shown = run_in_terminal([*COMMAND, "doctor"], width=50)
    assert status == 0
    words = "".join(shown.split())
    assert "".join(piped("doctor").stdout.split()) == words
    for line in shown.splitlines():
        assert len(line) <= 50 or " " not in line[17:].strip(), line


def test_what_info_says_wraps_in_the_column_of_values(embedded_export: Path) -> None:
    command = ["info", str(embedded_export)]
    status, shown = run_in_terminal([*COMMAND, *command], width=48)
    assert status == 0
    assert "".join(piped(*command).stdout.split()) == "".join(shown.split())
    assert any(line.startswith(" " * 28) for line in shown.splitlines())
    for line in shown.splitlines():
        assert len(line) <= 48 or " " not in line[28:].strip(), line


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["fly"], []], ids=str)
@pytest.mark.parametrize(
    "environment",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "yes", "FORCE_COLOR": "1"}],
    ids=str,
)
def test_a_terminal_that_wants_no_colours_has_none(
    arguments: list[str], environment: dict[str, str]
) -> None:
    _, shown = run_in_terminal([*COMMAND, *arguments], environment)
    assert "gptneo-onnx" in shown
    assert "\033" not in shown


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["fly"], []], ids=str)
def test_pipes_have_no_colours(arguments: list[str]) -> None:
    result = piped(*arguments, TERM="xterm", FORCE_COLOR="", CLICOLOR_FORCE="0")
    assert "\033" not in result.stdout + result.stderr


@pytest.mark.parametrize("name", ["FORCE_COLOR", "CLICOLOR_FORCE"])
def test_colours_can_be_asked_for(name: str) -> None:
    asked = {name: "1", "NO_COLOR": ""}
    assert "\033[1m" in piped("--help", **asked).stdout
    assert "\033[1;31m" in piped("fly", **asked).stderr


def test_json_never_has_colours(embedded_export: Path) -> None:
    command = [*COMMAND, "info", str(embedded_export), "--json"]
    status, shown = run_in_terminal(command, {"FORCE_COLOR": "1"})
    assert status == 0
    assert "\033" not in shown
    assert shown.count("\n") == 1


def test_quiet_leaves_out_the_progress_of_an_export(tmp_path: Path) -> None:
    command = [*COMMAND, "export", str(EMBEDDED_CHECKPOINT)]
    _, shown = run_in_terminal([*command, str(tmp_path / "shown")])
    assert "%|" in shown
    status, shown = run_in_terminal([*command, str(tmp_path / "quiet"), "-q"], width=300)
    assert (status, shown.count("\n")) == (0, 1)
    assert shown.startswith(f"{tmp_path / 'quiet'}: model.onnx, fp32, ")


def test_streams_that_are_no_terminals() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, io.StringIO(), closed):
        assert not is_terminal(stream)
        assert not has_colours(stream)
        assert coloured("text", RED, stream) == "text"
        assert coloured_help("usage: x", stream) == "usage: x"
        assert wrapped("word " * 99, stream) == "word " * 99
