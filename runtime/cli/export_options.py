"""Options of the commands that read a checkpoint: export and check."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gptneo_onnx.models.graph import ACTIVATION_NAMES, Precision
from gptneo_onnx.models.manifest import GRAPH_KINDS
from gptneo_onnx.models.tasks import Task

# Arguments of export_model() that are options by the same name.
_ARGUMENTS = (
    "graph", "precision", "activations", "full_range", "calibrate", "hidden_states", "layout",
    "exporter", "verify", "revision", "variant", "tokenizer", "adapter", "task",
)  # fmt: skip


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    """Add CHECKPOINT, and the options that say which files of it count."""
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="a directory or a hub id")
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
    command.add_argument(
        "--adapter",
        action="append",
        metavar="DIR",
        help="a directory or a hub id of a PEFT adapter (LoRA, DoRA, IA3), merged into the weights",
    )


def add_graphs(command: argparse.ArgumentParser) -> None:
    """Add the options that say which graphs are made."""
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


def add_precision(command: argparse.ArgumentParser) -> None:
    """Add the options that say how numbers are stored."""
    command.add_argument(
        "--precision",
        default=["fp32"],
        type=_comma_separated([precision.value for precision in Precision]),
        metavar="NAME[,NAME]",
        help="fp32 (the default), w8a8, int8 or int4 for CPUs; fp16 or bf16 for CUDA; or several: "
        "the first is model.onnx, and a smaller one can draft for it (generate --self-draft)",
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


def export_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of export_model() and check_export() that the options set."""
    return {name: getattr(options, name) for name in _ARGUMENTS}


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
