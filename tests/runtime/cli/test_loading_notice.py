"""While a model is loading, a terminal shows it; the line is gone afterwards."""

import io
import os
import sys

import pytest
from terminal import Terminal

from gptneo_onnx.runtime.cli.loading_notice import loading_notice

# Loads until a line is typed.
PROGRAM = (
    "import sys; from gptneo_onnx.runtime.cli.loading_notice import loading_notice\n"
    "with loading_notice(sys.argv[1], 0): sys.stdin.readline()\n"
    "print('ready')"
)


def test_a_terminal_shows_it_and_it_is_erased():
    with Terminal(["gpt-\x1bneo"], program=("-c", PROGRAM)) as terminal:
        line = terminal.wait_for("loading gpt-\\x1bneo (0 s)")
        assert line in ("\r| ", "\r/ ", "\r- ", "\r\\ ")
        terminal.wait_for("loading")  # the mark turns
        terminal.send("\r")
        shown, status = terminal.end()
    assert status == 0
    *_, blank, last = shown.rstrip("\r\n").split("\r")
    assert blank.isspace()
    assert last == "ready"


def test_a_narrow_terminal_shows_one_line():
    with Terminal(["a model with a long name"], columns=20, program=("-c", PROGRAM)) as terminal:
        line = terminal.wait_for("loading a model w\r")
        assert len(line) == len("\r| ")


def test_an_error_ends_it_too():
    program = (
        "from gptneo_onnx.runtime.cli.loading_notice import loading_notice\n"
        "with loading_notice('model', 0): input(); raise SystemExit('damaged')"
    )
    with Terminal(program=("-c", program)) as terminal:
        terminal.wait_for("loading model")
        terminal.send("\r")
        shown, status = terminal.end()
    assert status == 1
    assert shown.endswith("\rdamaged\r\n")


def test_what_loads_at_once_shows_nothing():
    program = PROGRAM.replace(", 0)", ", 1e6)")
    with Terminal(["model"], program=("-c", program)) as terminal:
        terminal.send("\r")
        assert terminal.end() == ("\r\nready\r\n", 0)


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_nothing_is_shown_elsewhere(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with loading_notice("model", 0):
        pass
    assert stream is None or stream.getvalue() == ""


def test_a_pipe_gets_nothing(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with loading_notice("model", 0):
            pass
    with os.fdopen(reading, "rb") as written:
        assert written.read() == b""
