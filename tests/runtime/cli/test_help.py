"""--help: every command's groups, defaults and examples; and the command `help`."""

import argparse
import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from heads import with_head

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli import embed
from gptneo_onnx.runtime.cli.generate_options import NUMBERS
from gptneo_onnx.runtime.cli.main import COMMAND, GROUPS, build_parser, main
from gptneo_onnx.runtime.cli.parser import Parser
from gptneo_onnx.runtime.pipelines.pooling import POOLINGS
from gptneo_onnx.runtime.pipelines.text_generation import DEFAULTS

PROGRAM = build_parser()
[ACTION] = [action for action in PROGRAM._actions if action.dest == COMMAND]
COMMANDS: Any = ACTION.choices


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The command lines that a help ends with, without the program's name."""
    return re.findall(r"^  gptneo-onnx (.*)$", parser.epilog or "", re.MULTILINE)


EXAMPLES = [line for parser in (PROGRAM, *COMMANDS.values()) for line in examples(parser)]
# What needs a package that the tests do without, writes into folders of the user's shell, or runs
# until a signal ends it.
NOT_RUN = ("lm-eval", "completion", "serve")


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in parser._actions if action.option_strings)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", COMMANDS)
class TestEveryCommand:
    def test_is_described_in_a_sentence(self, name: str) -> None:
        description = COMMANDS[name].description
        assert description[0].isupper()
        assert description.endswith(".")
        assert ". " not in description

    def test_has_its_options_in_groups(self, name: str) -> None:
        ungrouped = COMMANDS[name]._optionals._group_actions
        assert [action.dest for action in ungrouped] == ["help"]

    def test_shows_every_default(self, name: str) -> None:
        for action in options(COMMANDS[name]):
            takes_value = action.nargs != 0 or isinstance(action, argparse.BooleanOptionalAction)
            if takes_value and not action.required:
                assert "(default: " in str(action.help), action.option_strings

    def test_shows_the_defaults_that_hold(self, name: str) -> None:
        for action in options(COMMANDS[name]):
            if action.default not in (None, False, argparse.SUPPRESS):
                default = action.default
                shown = ",".join(default) if isinstance(default, list) else default
                assert f"(default: {shown})" in str(action.help), action.option_strings

    def test_names_every_choice(self, name: str) -> None:
        for action in COMMANDS[name]._actions:
            if action.choices is not None and name != "help":
                for choice in action.choices:
                    assert choice in str(action.help), action.option_strings

    def test_has_examples(self, name: str) -> None:
        assert len(examples(COMMANDS[name])) >= (1 if name == "doctor" else 2)

    def test_fits_a_terminal(self, name: str, narrow: None) -> None:
        for line in COMMANDS[name].format_help().splitlines():
            assert len(line) <= 88 if line.startswith("  gptneo-onnx") else len(line) <= 80, line

    def test_is_what_help_shows(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help", name]) == 0
        shown = capsys.readouterr().out
        assert shown == COMMANDS[name].format_help()
        for option in ("-h", "--help"):
            with pytest.raises(SystemExit) as stop:
                main([name, option])
            assert stop.value.code == 0
            assert capsys.readouterr().out == shown


def test_the_defaults_of_generate_are_those_of_the_pipeline() -> None:
    assert len(NUMBERS) > 15
    for number in NUMBERS:
        value = getattr(DEFAULTS, number.name)
        if number.name == "max_length":  # 20 by default, where max_new_tokens is not set
            value = None
        elif number.name == "num_assistant_tokens":
            value = 20
        if value is None:
            assert not re.match(r"\d", number.default), number.name
        else:
            assert float(number.default.partition(",")[0]) == value, number.name


def test_the_choices_of_embed_are_those_of_its_pipeline() -> None:
    assert embed.POOLINGS == POOLINGS


# The program's own help


def test_the_program_lists_commands_by_groups() -> None:
    text = PROGRAM.format_help()
    assert [name for names in PROGRAM.groups.values() for name in names] == [*COMMANDS]
    for title, names in PROGRAM.groups.items():
        listed = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        assert re.findall(r"^  (\S+) ", listed, re.MULTILINE) == names
    assert [*PROGRAM.groups] == [*GROUPS]
    assert "docs/command-line.md" in text
    assert len(examples(PROGRAM)) > 1


def test_the_program_gives_each_command_a_line(narrow: None) -> None:
    listed = PROGRAM.format_help().partition("\noptions:\n")[0]
    assert len(re.findall(r"^  \S", listed, re.MULTILINE)) == len(COMMANDS)
    assert len(re.findall(r"^   ", listed, re.MULTILINE)) == 0


def test_help_alone_is_the_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert capsys.readouterr().out == PROGRAM.format_help()


def test_help_for_no_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["help", "genrate"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "invalid choice: 'genrate'" in error
    assert "did you mean generate?; see gptneo-onnx help --help" in error


def test_the_program_alone_shows_a_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2  # as of shells' own commands that are used wrongly
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("usage: gptneo-onnx COMMAND")
    assert all(f"\n  {name} " in error for name in COMMANDS)
    assert len(error) < len(PROGRAM.format_help())
    assert error.endswith("gptneo-onnx help shows more, gptneo-onnx help COMMAND its options\n")


@pytest.mark.parametrize(
    ("arguments", "see"),
    [
        (["--fly"], "gptneo-onnx --help"),
        (["generate", "--fly"], "gptneo-onnx generate --help"),
        (["export", "checkpoint"], "gptneo-onnx export --help"),
        (["set-tokenizer", "model"], "gptneo-onnx set-tokenizer --help"),
    ],
)
def test_an_error_names_the_help_to_read(
    arguments: list[str], see: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.suppress(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.endswith(f"; see {see}\n")


BARE = """
import sys
for name in ("onnxruntime", "onnx", "ml_dtypes", "safetensors", "huggingface_hub", "tqdm", "shtab",
             "jinja2", "llguidance", "ftfy", "pyarrow", "lm_eval"):
    sys.modules[name] = None
from gptneo_onnx.runtime.cli.main import main
assert "numpy" not in sys.modules
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["doctor"], ["help", "export"], *([n, "--help"] for n in COMMANDS)],
    ids=" ".join,
)
def test_help_and_doctor_need_no_other_package(arguments: list[str]) -> None:
    script = [sys.executable, "-c", BARE, *arguments]
    result = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


# Examples


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_is_one_that_the_parser_takes(line: str) -> None:
    name, *arguments = shlex.split(line.partition(" > ")[0])
    if name != "lm-eval":  # the harness reads its own command line
        COMMANDS[name].parse_intermixed_args(arguments)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, embedded_export: Path) -> Path:
    """A folder with the models and texts that examples name."""
    import numpy as np

    folder = tmp_path_factory.mktemp("examples")
    (folder / "EleutherAI").mkdir()
    shutil.copytree(EMBEDDED_CHECKPOINT, folder / "EleutherAI" / "gpt-neo-125m")
    for name in ("gpt-neo-125m", "TinyStories-33M"):
        shutil.copytree(embedded_export, folder / name)
    export_model(EMBEDDED_CHECKPOINT, folder / "gpt-neo-125m-int4", precision="int4")
    heads = {"classifier": Head.SEQUENCE_CLASSIFICATION, "answerer": Head.QUESTION_ANSWERING}
    for name, head in heads.items():
        checkpoint = Path(shutil.copytree(EMBEDDED_CHECKPOINT, folder / f"{name}-checkpoint"))
        export_model(with_head(checkpoint, head, np.random.default_rng(3)), folder / name)
    text = "She was very fond of Mr. Darcy.\nEmma was not.\n"
    (folder / "text.txt").write_text(text * 50)
    for name in ("texts.txt", "prompts.txt"):
        (folder / name).write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", sorted({line for line in EXAMPLES if not line.startswith(NOT_RUN)})
)
def test_an_example_runs(
    line: str,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    assert main(shlex.split(line)) == 0, capsys.readouterr().err
    assert capsys.readouterr().out or "-o" in shlex.split(line)


def test_indented_lines_of_a_text_stay_as_they_are(narrow: None) -> None:
    parser = Parser(prog="x", description="word " * 40, epilog="examples:\n  x " + "y" * 90)
    text = parser.format_help()
    assert "  x " + "y" * 90 + "\n" in text
    assert max(map(len, text.partition("examples:")[0].splitlines())) <= 80
