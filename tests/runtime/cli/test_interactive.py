"""The interactive session without a terminal: entries from a pipe, the text alone on the output."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.cli.interactive_commands import COMMANDS
from gptneo_onnx.runtime.cli.main import main

GREEDY = ("--no-do-sample", "--max-new-tokens", "6")


@pytest.fixture
def take(embedded_export, monkeypatch, capsys):
    """Give the session lines: what it writes on standard output and on standard error."""

    def take(*lines, options=GREEDY, status=0):
        text = "".join(f"{line}\n" for line in lines)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert main(["generate", str(embedded_export), "--interactive", *options]) == status
        output = capsys.readouterr()
        return output.out, output.err

    return take


def test_lines_until_the_input_ends(take):
    out, notes = take("She was", "very")
    assert out.count("\n") >= 2
    assert notes == ""
    assert take("She was", "very", "/quit", "never read") == (out, "")


def test_mistakes_are_told_and_the_session_goes_on(take):
    out, notes = take("", "She was")
    assert notes == "[the text is still empty; type how it begins]\n"
    assert out


def test_standard_input_that_is_closed(embedded_export, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["generate", str(embedded_export), "--interactive"]) == 2
    assert "standard input is closed" in capsys.readouterr().err


def test_input_that_is_no_text(embedded_export, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8"))
    assert main(["generate", str(embedded_export), "--interactive"]) == 2
    assert "standard input is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("reset", ["/reset", "/clear"])
def test_reset_begins_anew(take, reset):
    once, _ = take("She was")
    out, notes = take("She was", reset, "She was")
    assert out == once * 2
    assert notes == "[the text is empty]\n"


def test_more_is_an_empty_line(take):
    assert take("She was", "/more") == take("She was", "")


def test_several_lines_are_one_text(take):
    quoted = take('"""She was', "", 'very"""', "/save {file}".format(file="/nowhere/x"))
    assert quoted[0] == take("She was\\", "\\", "very")[0]
    assert quoted[1].startswith("[/nowhere/x cannot be written: No such file or directory; name")


def test_a_quoted_text_and_two_slashes_are_no_commands(take):
    out, notes = take("//quit is", "/reset", '"""/quit is"""')
    assert notes == "[the text is empty]\n"
    assert len(out) > 2
    assert out[: len(out) // 2] == out[len(out) // 2 :]


def test_a_text_is_saved_and_loaded(take, tmp_path):
    file = tmp_path / "a text.txt"
    out, notes = take("She was", f"/save {file}", f"/save {file}")
    assert file.read_text() == f"She was{out}"
    assert notes.startswith(f"[saved to {file}]\n[{file} exists, and stays as it is; name another")
    more, notes = take(f"/load {file}", "")
    assert re.fullmatch(r"\[the text now ends: (\.\.\.)?.+\]\n", notes)
    assert take("She was", "")[0] == out + more


def test_what_was_loaded_steers_no_terminal(take, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("She \x1b[31mwas\r\x9b2J")
    _, notes = take(f"/load {file}")
    assert notes == "[the text now ends: She \\x1b[31mwas\\n\\x9b2J]\n"


def test_undo_takes_back_turns(take):
    first, _ = take("She was")
    both, _ = take("She was", "and")
    out, notes = take("She was", "never", "/undo", "and")
    assert out.startswith(first)
    assert out.endswith(both.removeprefix(first))
    assert len(out) > len(both)
    assert notes.startswith("[the text now ends: She was")


def test_retry_takes_the_next_seed(take):
    options = ("--max-new-tokens", "6", "--seed", "4")
    out, notes = take("She was", "/retry", options=options)
    assert notes == "[seed 5]\n"
    fourth, _ = take("She was", options=options)
    fifth, _ = take("She was", options=("--max-new-tokens", "6", "--seed", "5"))
    assert out == fourth + fifth
    assert fourth != fifth


def test_retry_needs_a_text_and_sampling(take):
    _, notes = take("/retry", options=("--seed", "4"))
    assert notes == "[the model has written nothing that could be written again]\n"
    _, notes = take("She was", "/retry")
    assert notes.startswith("[do-sample is off, so that the text would be the same; /set do-sa")


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("/hlep", "'/hlep' is not a command; did you mean /help?; /help lists them, and a text th"),
        ("/", "'/' is not a command; /help lists them, and a text that begins with a slash is wr"),
        ("/quit now", "/quit stands alone, and 'now' follows it"),
        ("/save", "/save needs the name of a file"),
        ("/load", "/load needs the name of a file"),
        ("/load /nowhere", "/nowhere cannot be read: No such file or directory"),
        ("/unset", "/unset needs the name of a setting"),
        ("/undo", "there is nothing to take back"),
    ],
)
def test_commands_that_cannot_be_done(take, line, note):
    out, notes = take(line, "/info")
    assert notes.startswith(f"[{note}")
    assert "\nmodel  " in notes
    assert out == ""


def test_help_lists_everything(take):
    _, notes = take("/help")
    for word in ("/set", "/retry", "/load FILE", "//text", '"""', "Ctrl-C", "top-p", "json-schema"):
        assert word in notes
    assert take("/?") == ("", notes)


def test_the_documentation_lists_every_command():
    page = (Path(__file__).parents[3] / "docs/command-line.md").read_text()
    for command in COMMANDS:
        for name in command.names:
            assert name == "/?" or f"`{name}" in page, name


def test_help_describes_one_name(take):
    assert take("/help set")[1].startswith("  /set [NAME [VALUE]] ")
    _, notes = take("/help top-p")
    assert notes == (
        "top-p 1.0\nsample from the likeliest tokens that together have this probability "
        "(default: 1.0, all)\n"
    )


def test_info_describes_the_session(take, embedded_export):
    _, notes = take("She was", "/info")
    assert f"model         {embedded_export}\n" in notes
    assert re.search(r"512 tokens, \d of them in the text\n", notes)
    assert "max-new-tokens 6, do-sample off" in notes


def test_the_arguments_of_the_command_reach_the_model(embedded_export, take, monkeypatch):
    seen = []
    original = GPTNeoForCausalLM.generate

    def generate(model, *arguments, **kwargs):
        seen.append(kwargs)
        return original(model, *arguments, **kwargs)

    monkeypatch.setattr(GPTNeoForCausalLM, "generate", generate)
    options = ["--max-new-tokens", "7", "--temperature", "0.5", "--draft", str(embedded_export)]
    take("She", options=options)
    assert seen[0]["max_new_tokens"] == 7
    assert isinstance(seen[0]["assistant_model"], GPTNeoForCausalLM)
    assert seen[0]["generation_config"].do_sample is True
    assert seen[0]["generation_config"].temperature == 0.5
    assert np.shape(seen[0]["past_key_values"].sequences) == (0,)
