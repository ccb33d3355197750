"""The command `gptneo-onnx lm-eval`: lm-evaluation-harness's own, with our model as one more."""

import json
import signal
import sys
from collections.abc import Sequence

from gptneo_onnx.models.errors import InputError, MissingDependencyError
from gptneo_onnx.runtime.files import is_directory

LM_EVAL = "lm-eval"

_COMMANDS = ("run", "ls", "validate")
_CONFIGS = ("--config", "-C")
# Options that say which model is meant.
_MODELS = {"--model", "-M", "--model_args", "-a", *_CONFIGS}


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Hand a command line to the harness: [MODEL] and the harness's arguments.

    MODEL stands for --model gptneo-onnx --model_args pretrained=MODEL.

    Raises:
        InputError: no model is named, or MODEL is no directory.
        MissingDependencyError: the harness is not installed.
    """
    try:
        from lm_eval.__main__ import cli_evaluate

        from gptneo_onnx.runtime.evaluation.harness import NAME
    except ImportError as error:
        raise MissingDependencyError(
            "lm-eval needs EleutherAI's lm-evaluation-harness: pip install 'gptneo-onnx[eval]'"
        ) from error
    given = _with_model(list(arguments), NAME)
    # The harness ends its worker processes by this signal, which must not raise there.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv = [LM_EVAL, *given]
    cli_evaluate()


def _with_model(given: list[str], name: str) -> list[str]:
    """The harness's arguments, with ours where no model is named."""
    command = [given.pop(0)] if given[:1] and given[0] in _COMMANDS else ["run"]
    options = {argument.partition("=")[0] for argument in given}
    if command != ["run"] or options & {"--help", "-h"}:
        return command + given
    if given and not given[0].startswith("-"):
        directory = given.pop(0)
        if not is_directory(directory):
            raise InputError(
                f"{directory} is not a directory; a checkpoint or hub id must be exported first: "
                f"gptneo-onnx export {directory} OUT"
            )
        given = ["--model_args", json.dumps({"pretrained": directory}), *given]
    elif not options & _MODELS:
        raise InputError("no model is named; write: gptneo-onnx lm-eval MODEL --tasks ...")
    # The harness's own defaults are a model of its own, and CUDA; what comes later counts.
    ours = [] if options & {"--model", "-M", *_CONFIGS} else ["--model", name, "--device", "auto"]
    return command + ours + given
