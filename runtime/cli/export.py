"""The command `gptneo-onnx export`: from a checkpoint to a directory with graphs and weights."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gptneo_onnx.models.graph import ACTIVATION_NAMES, Precision
from gptneo_onnx.models.manifest import GRAPH_KINDS
from gptneo_onnx.models.tasks import Task
from gptneo_onnx.runtime.cli.units import readable_size


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser("export", help="make an ONNX model of a checkpoint")
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="a directory or a hub id")
    command.add_argument("out", type=Path, metavar="OUT", help="the directory to make")
    command.add_argument("--revision", help="which branch, tag or commit of a hub id to fetch")
    command.add_argument(
        "--variant",
        metavar="NAME",
        help="which weights to take: fp16 for model.fp16.safetensors; by default those without one",
    )
    command.add_argument(
        "--tokenizer",
        metavar="DIR",
        help="a directory or a hub id whose tokenizer is taken instead of the checkpoint's",
    )
    _add_graphs(command)
    _add_precision(command)
    command.add_argument(
        "--verify",
        action="store_true",
        help="compare the result with transformers (needs the optimum extra)",
    )
    command.set_defaults(run=run_export)


def _add_graphs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--task",
        default="auto",
        choices=["auto", *(task.value for task in Task)],
        metavar="NAME",
        help="what the model is for: auto (the default) is the task of the checkpoint's class; "
        f"{', '.join(task.value for task in Task)}",
    )
    command.add_argument(
        "--graph",
        type=_comma_separated(GRAPH_KINDS),
        metavar="KIND[,KIND]",
        help=f"one of {', '.join(GRAPH_KINDS)}, or several: fused (the default) is for this "
        "runtime, genai for onnxruntime-genai, portable for other stacks",
    )
    command.add_argument(
        "--layout",
        default="flat",
        choices=["flat", "transformers.js"],
        help="flat (the default) puts all files into OUT; transformers.js puts portable graphs "
        "into OUT/onnx, under the names that transformers.js expects",
    )
    command.add_argument(
        "--exporter",
        default="direct",
        choices=["direct", "optimum"],
        help="direct (the default) writes the graphs itself; optimum has Optimum trace the "
        "portable graph (needs the optimum extra)",
    )
    command.add_argument(
        "--hidden-states",
        type=_layers,
        metavar="N[,N]",
        help="all, or the layers whose hidden states the graphs return, for `embed --layer`: 0 is "
        "the embeddings, -1 the last layer, which fused graphs always return",
    )


def _add_precision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision",
        default=["fp32"],
        type=_comma_separated([precision.value for precision in Precision]),
        metavar="NAME[,NAME]",
        help="fp32 (the default), w8a8, int8 or int4 for CPUs; fp16 or bf16 for CUDA; several with "
        "--layout transformers.js",
    )
    command.add_argument(
        "--activations",
        choices=[*ACTIVATION_NAMES.values()],
        help="with int8 and int4: fp32 (the default) for CPUs, fp16 or bf16 for CUDA",
    )
    command.add_argument(
        "--full-range",
        action="store_true",
        help="with w8a8: store weights of full 8 bits; only for processors with VNNI or AMX "
        "instructions, on others their sums saturate",
    )
    command.add_argument(
        "--calibrate",
        type=Path,
        metavar="TEXT",
        help="with w8a8, int8 and int4: a text file that the model reads first, for better "
        "rounding",
    )


def _comma_separated(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a parser, for argparse's `type`, of choices with commas between them."""

    def parse(value: str) -> list[str]:
        for choice in value.split(","):
            if choice not in choices:
                raise argparse.ArgumentTypeError(
                    f"invalid choice: {choice!r} (choose from {', '.join(choices)})"
                )
        return value.split(",")

    return parse


def _layers(value: str) -> str | list[int]:
    """Parse "all", or numbers with commas between them."""
    try:
        return value if value == "all" else [int(number) for number in value.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"invalid value: {value!r} (all, or numbers of layers with commas between them)"
        ) from error


def run_export(options: argparse.Namespace) -> None:
    """Export the checkpoint, and print what was written.

    Raises:
        GPTNeoOnnxError: as export_model().
    """
    from gptneo_onnx.export import export_model

    out = export_model(
        options.checkpoint,
        options.out,
        task=options.task,
        graph=options.graph,
        precision=options.precision,
        activations=options.activations,
        full_range=options.full_range,
        calibrate=options.calibrate,
        hidden_states=options.hidden_states,
        layout=options.layout,
        exporter=options.exporter,
        verify=options.verify,
        revision=options.revision,
        variant=options.variant,
        tokenizer=options.tokenizer,
        progress=True,
        report=lambda line: print(line, file=sys.stderr),
    )
    size = sum(path.stat().st_size for path in out.rglob("*"))
    graphs = ", ".join(str(path.relative_to(out)) for path in sorted(out.rglob("*.onnx")))
    print(f"{out}: {graphs}, {', '.join(options.precision)}, {readable_size(size)}")
