"""The command `gptneo-onnx lm-eval`: lm-evaluation-harness on an exported model."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from gptneo_onnx.models.errors import InputError, MissingDependencyError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.parser import add_examples

LM_EVAL = "lm-eval"

_HARNESS_COMMANDS = ("run", "ls", "validate")
_CONFIG_OPTIONS = {"--config", "-C"}
_MODEL_OPTIONS = {"--model", "-M"}
# Any of these says which model to evaluate.
_NAMES_A_MODEL = {*_MODEL_OPTIONS, "--model_args", "-a", *_CONFIG_OPTIONS}


def add_command(commands: Any) -> None:
    """Add the command to the list of commands, for its help; main() never parses its options."""
    command = commands.add_parser(
        LM_EVAL,
        usage="%(prog)s [run|ls|validate] [MODEL] [OPTIONS]",
        help="run EleutherAI's lm-evaluation-harness on a model",
        description="Run EleutherAI's lm-evaluation-harness on a model (needs the eval extra).",
    )
    command.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="the directory of an exported model (default: what --model_args says)",
    )
    command.add_argument_group(
        "options of the harness",
        "All options are the harness's own: gptneo-onnx lm-eval run --help shows them.",
    )
    add_examples(
        command,
        "lm-eval gpt-neo-125m --tasks lambada_openai,hellaswag",
        "lm-eval ls tasks",
    )


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Hand a command line to the harness: [MODEL] and the harness's own options.

    MODEL is short for --model gptneo-onnx --model_args pretrained=MODEL.

    Raises:
        InputError: no model is named, or there is no such model.
        MissingDependencyError: the harness is not installed.
    """
    try:
        from lm_eval.__main__ import cli_evaluate

        from gptneo_onnx.runtime.evaluation.harness import NAME
    except ImportError as error:
        raise MissingDependencyError(
            "lm-eval needs EleutherAI's lm-evaluation-harness: pip install 'gptneo-onnx[eval]'"
        ) from error
    harness_arguments = _with_model(list(arguments), NAME)
    sys.argv = [LM_EVAL, *harness_arguments]
    cli_evaluate()


def _with_model(arguments: list[str], name: str) -> list[str]:
    """Return the harness's arguments, with the options that select the model registered as `name`.

    Raises:
        InputError: no model is named, or there is no such model.
    """
    from gptneo_onnx.runtime.on_demand_export import exported_directory

    command = "run"
    if arguments and arguments[0] in _HARNESS_COMMANDS:
        command, *arguments = arguments
    options = {argument.partition("=")[0] for argument in arguments}
    if command != "run" or options & {"--help", "-h"}:
        return [command, *arguments]
    if arguments and not arguments[0].startswith("-"):
        directory, *arguments = arguments
        path, _ = exported_directory(directory, heads=(Head.CAUSAL_LM,))
        arguments = ["--model_args", json.dumps({"pretrained": str(path)}), *arguments]
    elif not options & _NAMES_A_MODEL:
        raise InputError("no model is named; write: gptneo-onnx lm-eval MODEL --tasks ...")
    if options & (_MODEL_OPTIONS | _CONFIG_OPTIONS):
        return [command, *arguments]
    # First, so that the user's own --device counts: the harness would run another model on CUDA.
    return [command, "--model", name, "--device", "auto", *arguments]
