"""`gptneo-onnx serve` in a process, as people run it."""

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_S = 120
END_S = 60
LOG_S = 30


@dataclass(frozen=True)
class ServerProcess:
    """A server that runs.

    Attributes:
        url: its address, without a slash at the end.
        process: the process.
        log: the file that its standard error goes to.
    """

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def logged(self, mark: str, count: int) -> list[str]:
        """Return the log's lines with a text; wait for `count` of them.

        A line follows its answer, which may be read first.
        """
        end = time.monotonic() + LOG_S
        while True:
            lines = [line for line in self.log.read_text().splitlines() if mark in line]
            if len(lines) >= count or time.monotonic() > end:
                return lines
            time.sleep(0.02)


@contextlib.contextmanager
def serving(*arguments: object, free_port: bool = True) -> Iterator[ServerProcess]:
    """Run `gptneo-onnx serve ARGUMENTS` until the block is left."""
    port = ["--port", "0"] if free_port else []
    command = [sys.executable, "-m", "gptneo_onnx", "serve", *map(str, arguments), *port]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            url = _address(process, Path(log.name))
            yield ServerProcess(url, process, Path(log.name))
        finally:
            process.terminate()
            process.wait(END_S)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until the server says where it listens."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        found = re.search(r"^serving .* on (http\S+)$", log.read_text(), re.MULTILINE)
        if found:
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready after {START_S} s:\n{log.read_text()}")
