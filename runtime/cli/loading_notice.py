"""What a terminal shows while a model is loading for more than a second."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from gptneo_onnx.runtime.cli.terminal import is_terminal
from gptneo_onnx.runtime.cli.terminal_text import one_line, terminal_width

_WAIT_S = 1.0
_STEP_S = 0.1
_MARKS = "|/-\\"


@contextlib.contextmanager
def loading_notice(name: str, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Show on standard error, if that is a terminal, that something is being loaded.

    The line appears after `wait_s` seconds, counts them, and is erased at the end.

    Args:
        name: what is loaded.
        wait_s: seconds before the line appears.
    """
    if not is_terminal(sys.stderr):
        yield
        return
    is_loaded = threading.Event()
    thread = threading.Thread(target=_count, args=(one_line(name), wait_s, is_loaded), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_loaded.set()
        thread.join()


def _count(name: str, wait_s: float, is_loaded: threading.Event) -> None:
    begin = time.monotonic()
    shown = ""
    wait = wait_s
    for mark in _endless(_MARKS):
        if is_loaded.wait(wait):
            break
        wait = _STEP_S
        line = f"{mark} loading {name} ({time.monotonic() - begin:.0f} s)"
        shown = line[: terminal_width(sys.stderr) - 1]  # a line that wraps cannot be erased
        print(f"\r{shown}", end="", file=sys.stderr, flush=True)
    if shown:  # overwritten, since not every terminal knows a sequence that erases
        print(f"\r{' ' * len(shown)}\r", end="", file=sys.stderr, flush=True)


def _endless(marks: str) -> Iterator[str]:
    while True:
        yield from marks
