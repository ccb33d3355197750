"""The program gptneo-onnx, which is python -m gptneo_onnx too."""

import sys
from importlib import import_module


def main() -> int:
    """Run the command line, and return its exit status.

    Ctrl-C ends the process without a word until the command line, which takes a while to import,
    can say more.
    """
    signal = import_module("_signal")  # the part of Python's `signal` that is there at once
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gptneo_onnx.runtime.cli.main import run_program

    return run_program()


if __name__ == "__main__":
    sys.exit(main())
