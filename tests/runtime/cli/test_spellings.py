"""Short options, synonyms, and underscores for dashes."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime.cli.main import COMMAND, build_parser, main

[ACTION] = [action for action in build_parser()._actions if action.dest == COMMAND]
COMMANDS: Any = ACTION.choices
DASHED = [
    (name, option)
    for name, parser in COMMANDS.items()
    for action in parser._actions
    for option in action.option_strings
    if "-" in option.removeprefix("--") and option.startswith("--")
]


def action_of(name: str, option: str) -> argparse.Action:
    action: argparse.Action = COMMANDS[name]._option_string_actions[option]
    return action


def value_for(action: argparse.Action) -> str:
    choices: Any = action.choices or getattr(action.type, "choices", None)
    return next(iter(choices)) if choices else "1"


def words_of(name: str) -> list[str]:
    """What a command needs besides: its positional arguments, and required options."""
    positional = [action for action in COMMANDS[name]._actions if not action.option_strings]
    needed = [value_for(action) if action.choices else "x" for action in positional]
    for action in COMMANDS[name]._actions:
        if action.required and action.option_strings:
            needed += [action.option_strings[0], "x"]
    return needed


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    values = vars(COMMANDS[name].parse_intermixed_args([*arguments, *words_of(name)]))
    return {key: value for key, value in values.items() if key != "files"}


@pytest.mark.parametrize(("name", "option"), DASHED)
def test_an_option_may_have_underscores(
    name: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_SPIN", "1")  # --no-spin sets it
    action = action_of(name, option)
    underscored = "--" + option.removeprefix("--").replace("-", "_")
    if action.nargs == 0:
        assert parsed(name, underscored) == parsed(name, option)
        return
    value = value_for(action)
    expected = parsed(name, f"{option}={value}")
    assert parsed(name, f"{underscored}={value}") == expected
    assert expected != parsed(name) or value == str(action.default)
    if action.nargs is None:
        assert parsed(name, underscored, value) == expected


def test_values_and_words_keep_their_underscores() -> None:
    options = COMMANDS["generate"].parse_args(
        ["--stop_strings=a_b", "--stop", "c_d", "--", "my_model", "--num_beams"]
    )
    assert options.stop_strings == ["a_b", "c_d"]
    assert options.words == ["my_model", "--num_beams"]
    assert options.num_beams is None


def test_the_beginning_of_an_option_may_have_underscores() -> None:
    assert parsed("generate", "--max_new=4")["max_new_tokens"] == 4


@pytest.mark.parametrize(
    ("name", "short", "long"),
    [
        ("generate", ["-m", "x"], ["--model", "x"]),
        ("generate", ["-p", "x"], ["--prompt", "x"]),
        ("generate", ["-n", "3"], ["--max-new-tokens", "3"]),
        ("generate", ["-n3"], ["--max-tokens", "3"]),
        ("generate", ["-s", "7"], ["--seed", "7"]),
        ("generate", ["-i"], ["--interactive"]),
        ("generate", ["-q"], ["--quiet"]),
        ("generate", ["--temp", "0.5"], ["--temperature", "0.5"]),
        ("generate", ["--num_beams", "2"], ["--beams", "2"]),
        ("embed", ["-o", "x.npy"], ["--out", "x.npy"]),
        ("embed", ["-q"], ["--quiet"]),
        ("export", ["-o", "x"], ["--out", "x"]),
        ("export", ["-q"], ["--quiet"]),
        ("compare", ["-q"], ["--quiet"]),
        ("perplexity", ["-q"], ["--quiet"]),
    ],
)
def test_spellings_of_one_option(name: str, short: list[str], long: list[str]) -> None:
    assert parsed(name, *short) == parsed(name, *long)
    assert parsed(name, *short) != parsed(name)


@pytest.mark.parametrize(
    "arguments",
    [["CHECKPOINT", "OUT"], ["CHECKPOINT", "-o", "OUT"], ["--out=OUT", "CHECKPOINT"]],
    ids=" ".join,
)
def test_out_is_a_word_or_an_option(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CHECKPOINT").symlink_to(EMBEDDED_CHECKPOINT, target_is_directory=True)
    assert main(["export", *arguments, "--dry-run"]) == 0
    assert "ready to export: gptneo-onnx export CHECKPOINT OUT\n" in capsys.readouterr().out


def test_out_is_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(EMBEDDED_CHECKPOINT), str(tmp_path / "a"), "-o", str(tmp_path / "b")]
    assert main(arguments) == 2
    assert "OUT is given twice" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("zero", ["0", "0.0", "-0", "0e3"])
def test_a_temperature_of_0_decodes_greedily(
    zero: str, embedded_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", str(embedded_export), "It is a truth", "-n", "9"]
    assert main([*command, "--no-do-sample"]) == 0
    greedy = capsys.readouterr().out
    for asked in ([], ["--do-sample"]):
        assert main([*command, f"--temperature={zero}", *asked]) == 0
        assert capsys.readouterr().out == greedy


def test_generate_can_be_quiet(
    embedded_export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gptneo_onnx.runtime.embedded.embedded_model", lambda: embedded_export)
    assert main(["generate", "-p", "It", "-n", "1", "-q"]) == 0
    assert capsys.readouterr().err == ""
