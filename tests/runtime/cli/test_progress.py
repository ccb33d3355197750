"""Progress bars: on a terminal, with what is left, and never among results."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from gptneo_onnx.runtime.documents import Document
from gptneo_onnx.runtime.evaluation.document_windows import TextCounts

COUNTED = r"100%\|.*\| {count}/{count} \[\d\d:\d\d<00:00"


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("She was\nSir\nIt is a truth\n")
    return path


def on_a_terminal(*arguments: object, output_too: bool = False) -> tuple[str, str]:
    """Run the real command; return its standard output, and what a terminal shows beside it."""
    terminal, inside = os.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "gptneo_onnx", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=inside if output_too else subprocess.PIPE,
        stderr=inside,
        text=True,
    )
    os.close(inside)
    shown = b""
    try:
        while block := os.read(terminal, 4096):
            shown += block
    except OSError:  # how Linux ends a pseudo-terminal
        pass
    output = process.communicate(timeout=60)[0] or ""
    os.close(terminal)
    assert process.returncode == 0, shown
    return output, shown.decode()


def commands(model: Path, texts: Path) -> dict[str, list[object]]:
    return {
        "generate": ["generate", model, "--prompts", texts, "-n", 2],
        "embed": ["embed", model, texts, "--lines"],
        "perplexity": ["perplexity", model, texts, "--lines"],
        "compare": ["compare", model, model, "--text", texts, "--lines"],
    }


@pytest.mark.parametrize("name", ["generate", "embed"])
def test_texts_are_counted(embedded_export, texts, name):
    command = commands(embedded_export, texts)[name]
    output, shown = on_a_terminal(*command)
    assert re.search(COUNTED.format(count=3), shown)
    assert output.count("\n") == 3
    assert on_a_terminal(*command, "--quiet")[1] == ""


@pytest.mark.parametrize("name", ["perplexity", "compare"])
def test_tokens_are_counted_and_how_many_are_left(embedded_export, texts, name):
    command = commands(embedded_export, texts)[name]
    output, shown = on_a_terminal(*command, "--json")
    tokens = int(re.findall(r'"tokens": (\d+)', output)[0])
    assert re.search(COUNTED.format(count=rf"{tokens}\.0+"), shown), shown
    assert on_a_terminal(*command, "--quiet")[1] == ""


def test_results_on_the_terminal_have_no_bar_among_them(embedded_export, texts):
    command = commands(embedded_export, texts)["generate"]
    assert "100%" not in on_a_terminal(*command, output_too=True)[1]


def test_how_many_tokens_there_will_be_is_judged_by_those_that_were_read():
    documents = [Document("a" * 10, "1"), Document("\u00e9" * 10, "2")]
    counts = TextCounts.before(documents)
    assert counts.expected_tokens is None
    counts.add(documents[0])
    counts.tokens += 5
    assert counts.expected_tokens == 15
    counts.add(documents[1])
    counts.tokens += 20
    assert counts.expected_tokens == 25


def test_of_documents_that_are_read_once_nothing_is_known_before():
    counts = TextCounts.before(iter([Document("a", "1")]))
    counts.add(Document("a", "1"))
    assert counts.expected_tokens is None
