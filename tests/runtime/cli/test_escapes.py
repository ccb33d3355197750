r"""Escapes in --stop: \n, \r, \t, \\ and \uXXXX."""

import json

import pytest

from gptneo_onnx.runtime.cli.escapes import unescaped
from gptneo_onnx.runtime.cli.main import main


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"\n", "\n"),
        (r"a\tb\r", "a\tb\r"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\u00e9\u2014", "\u00e9\u2014"),
        (r"\ud83e\udd17", "\U0001f917"),
        (r"\ud83e", "\ud83e"),
        (r"\u12", r"\u12"),
        (r"\d+ C:\x", r"\d+ C:\x"),
        ("\\", "\\"),
        ("caf\u00e9 \U0001f917", "caf\u00e9 \U0001f917"),
        ("", ""),
    ],
)
def test_stand_for_characters(written, meant):
    assert unescaped(written) == meant


def test_a_text_can_end_at_the_end_of_a_line(embedded_export, capsys):
    command = ["generate", str(embedded_export), "She was", "--no-do-sample", "--json"]
    assert main([*command, "--stop", r"\u0020to", "--stop", r"\n"]) == 0
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["stop_reason"] in (" to", "\n")
    assert result["finish_reason"] == "stop"
