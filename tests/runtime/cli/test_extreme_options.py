"""Every option that is a number takes extreme ones, or refuses them in one line."""

import argparse
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from small_checkpoint import write_small_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime.cli.main import build_parser, main

WHOLE = ("0", "-1", "2147483648", "9223372036854775808", "18446744073709551616", "1" + "0" * 30)
REAL = ("0", "-0.0", "-1", "1e-320", "1e308", "-1e308", "inf", "-inf", "nan", "1" + "0" * 400)
# The least that a command needs besides; CHECKPOINT, MODEL and TEXT stand for paths.
NEEDED = {
    "export": ["CHECKPOINT", "OUT", "--dry-run"],
    "generate": ["MODEL", "It was", "-n", "2"],
    "embed": ["MODEL", "TEXT"],
    "classify": ["MODEL", "TEXT"],
    "perplexity": ["MODEL", "TEXT"],
    "compare": ["MODEL", "MODEL", "--text", "TEXT"],
    "serve": ["MODEL", "--quiet"],
}
# What an option has no effect without.
BESIDE = {
    "--batch-size": {"generate": ["--prompts", "TEXT"], "perplexity": ["--protocol", "card"]},
    "--tokens-per-byte": {"perplexity": ["--protocol", "card"]},
    "--num-beam-groups": {"generate": ["--beams", "4", "--no-do-sample"]},
    "--diversity-penalty": {"generate": ["--beams", "4", "--num-beam-groups", "2"]},
    "--length-penalty": {"generate": ["--beams", "2"]},
}


def numeric_options():
    [commands] = [
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    for command, parser in commands.choices.items():
        for action in parser._actions:
            if action.type in (int, float):
                yield pytest.param(command, action, id=f"{command} {action.option_strings[-1]}")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("extreme")
    write_small_checkpoint(folder / "checkpoint", np.random.default_rng(5))
    export_model(folder / "checkpoint", folder / "model")
    (folder / "text").write_text("It was.")
    return {
        "CHECKPOINT": str(folder / "checkpoint"), "MODEL": str(folder / "model"),
        "OUT": str(folder / "out"), "TEXT": str(folder / "text"),
    }  # fmt: skip


@contextmanager
def ended_once_ready(command: str) -> Iterator[list[str]]:
    """Yield further options. A server on the port that they name gets SIGTERM once it is ready."""
    if command != "serve":
        yield []
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    is_over = threading.Event()

    def end() -> None:
        while not is_over.wait(0.02):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready"):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield [f"--port={port}"]
    finally:
        is_over.set()
        thread.join()


# A port is not known by the number 0; tests/runtime/cli/test_serve.py has others.
TRIED = [each for each in numeric_options() if each.id != "serve --port"]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "action"), TRIED)
def test_an_extreme_number(
    command: str,
    action: argparse.Action,
    paths: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    option = action.option_strings[-1]
    beside = BESIDE.get(option, {}).get(command, [])
    words = [paths.get(word, word) for word in (*NEEDED.get(command, []), *beside)]
    for value in WHOLE if action.type is int else REAL:
        try:
            with ended_once_ready(command) as more:
                status = main([command, *words, *more, f"{option}={value}"])
        except SystemExit as stop:
            status = stop.code
        error = capsys.readouterr().err
        assert status in (0, 2), (value, error)
        if status == 2:
            assert error.splitlines()[-1].startswith("gptneo-onnx: error: "), (value, error)
            assert "Traceback" not in error
