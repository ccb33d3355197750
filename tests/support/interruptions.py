"""Sends signals to real commands, at moments spread over their run.

The variable GPTNEO_ONNX_INTERRUPTIONS says how many moments are tried; by default 40.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MOMENTS = int(os.environ.get("GPTNEO_ONNX_INTERRUPTIONS", "40"))
PROGRAM = (sys.executable, "-m", "gptneo_onnx")
# Signals, sent a millisecond after each other.
WAYS = (
    (signal.SIGINT,),
    (signal.SIGTERM,),
    (signal.SIGHUP,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGTERM, signal.SIGINT),
    (signal.SIGKILL,),
)
_LIMIT_S = 60


@dataclass(frozen=True)
class Run:
    """What a command did.

    Attributes:
        status: as subprocess has it: minus the signal's number where a signal ended it.
        errors: what it said on standard error.
        seconds: how long it took; of an interrupted one, from the last signal on.
    """

    status: int
    errors: str
    seconds: float


@dataclass(frozen=True)
class Command:
    """A command, and the folder that it writes into.

    Attributes:
        arguments: of gptneo-onnx.
        folder: nothing hidden may stay in it.
        prepare: makes the state that the command begins with; called before every run.
    """

    arguments: Sequence[str | Path]
    folder: Path
    prepare: Callable[[], object]

    def run(self) -> Run:
        """Run it to its end."""
        begin = time.monotonic()
        with self._start() as process:
            _, errors = process.communicate(timeout=_LIMIT_S)
        return Run(process.returncode, errors, time.monotonic() - begin)

    def interrupted(self, sent: Sequence[signal.Signals], after_s: float) -> Run:
        """Run it, and send signals after some time."""
        with self._start() as process:
            try:
                process.wait(timeout=after_s)
            except subprocess.TimeoutExpired:
                for number in sent:
                    process.send_signal(number)
                    time.sleep(0.001)
            begin = time.monotonic()
            _, errors = process.communicate(timeout=_LIMIT_S)
        return Run(process.returncode, errors, time.monotonic() - begin)

    def half_written(self) -> list[str]:
        """What is hidden in the folder: records of exports on demand belong there."""
        return [
            str(path.relative_to(self.folder))
            for path in self.folder.rglob(".*")
            if path.suffix != ".json"
        ]

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *map(str, self.arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background makes them ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def is_of_interpreter(errors: str) -> bool:
    """Whether a traceback is of the time before the program's first line, which is Python's."""
    return "Traceback" in errors and "gptneo_onnx/" not in errors
