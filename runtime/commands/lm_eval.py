"""The command `gptneo-onnx lm-eval`: lm-evaluation-harness's own, with our model as one more."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gptneo_onnx.models.errors import MissingDependencyError

COMMAND = "lm-eval"


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Hand a command line to the harness: [MODEL] and the harness's arguments.

    MODEL stands for --model gptneo-onnx --model_args pretrained=MODEL.

    Raises:
        MissingDependencyError: the harness is not installed.
    """
    try:
        from lm_eval.__main__ import cli_evaluate

        from gptneo_onnx.runtime.evaluation.harness import NAME
    except ImportError as error:
        raise MissingDependencyError(
            "lm-eval needs EleutherAI's lm-evaluation-harness: pip install 'gptneo-onnx[eval]'"
        ) from error
    given = list(arguments)
    if given and Path(given[0]).is_dir():
        given[:1] = ["--model_args", f"pretrained={given[0]}"]
    is_evaluation = given and given[0] not in ("ls", "validate", "--help", "-h")
    # The harness's own defaults are a model of its own, and CUDA.
    for option, value in (("--model", NAME), ("--device", "auto")):
        if is_evaluation and option not in given:
            given = [*given, option, value]
    # The harness ends its worker processes by this signal, which must not raise there.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv = [COMMAND, *given]
    cli_evaluate()
