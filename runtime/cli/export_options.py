"""Options of the commands that read a checkpoint: export and check."""

import argparse
from collections.abc import Sequence
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
    group = command.add_argument_group("checkpoint")
    group.add_argument(
        "--revision",
        metavar="NAME",
        help="which branch, tag or commit of a hub id to fetch (default: main)",
    )
    group.add_argument(
        "--variant",
        metavar="NAME",
        help="which weights to take: fp16 for model.fp16.safetensors (default: those without one)",
    )
    group.add_argument(
        "--tokenizer",
        metavar="DIR",
        help="a directory or a hub id whose tokenizer is taken (default: the checkpoint's)",
    )
    group.add_argument(
        "--adapter",
        action="append",
        metavar="DIR",
        help="a directory or a hub id of a PEFT adapter (LoRA, DoRA, IA3), merged into the weights "
        "(default: none)",
    )


def add_graphs(command: argparse.ArgumentParser) -> None:
    """Add the options that say which graphs are made."""
    group = command.add_argument_group("graphs")
    group.add_argument(
        "--task",
        default="auto",
        choices=["auto", *(task.value for task in Task)],
        metavar="NAME",
        help="what the model is for: auto for the task of the checkpoint's class, "
        f"{', '.join(task.value for task in Task)} (default: auto)",
    )
    group.add_argument(
        "--graph",
        type=_CommaSeparated(GRAPH_KINDS),
        metavar="KIND[,KIND]",
        help=f"one of {', '.join(GRAPH_KINDS)}, or several: fused for this runtime, genai for "
        "onnxruntime-genai, portable for other stacks (default: fused)",
    )
    group.add_argument(
        "--layout",
        default="flat",
        choices=["flat", "transformers.js"],
        metavar="NAME",
        help="flat puts all files into OUT; transformers.js puts portable graphs into OUT/onnx, "
        "under the names that transformers.js expects (default: flat)",
    )
    group.add_argument(
        "--exporter",
        default="direct",
        choices=["direct", "optimum"],
        metavar="NAME",
        help="direct writes the graphs itself; optimum has Optimum trace the portable graph, which "
        "needs the optimum extra (default: direct)",
    )
    group.add_argument(
        "--hidden-states",
        type=_layers,
        metavar="N[,N]",
        help="all, or the layers whose hidden states the graphs return, for `embed --layer`: 0 is "
        "the embeddings, -1 the last layer (default: -1 of fused graphs, none of others)",
    )


def add_precision(command: argparse.ArgumentParser) -> None:
    """Add the options that say how numbers are stored."""
    group = command.add_argument_group("precision")
    group.add_argument(
        "--precision",
        default=["fp32"],
        type=_CommaSeparated([precision.value for precision in Precision]),
        metavar="NAME[,NAME]",
        help="fp32, w8a8, int8 or int4 for CPUs; fp16 or bf16 for CUDA; or several: the first is "
        "model.onnx, a smaller one can draft for it: generate --self-draft (default: fp32)",
    )
    group.add_argument(
        "--activations",
        choices=[*ACTIVATION_NAMES.values()],
        metavar="NAME",
        help="with int8 and int4: fp32 for CPUs, fp16 or bf16 for CUDA (default: fp32)",
    )
    group.add_argument(
        "--full-range",
        action="store_true",
        help="with w8a8: store weights of full 8 bits; only for processors with VNNI or AMX "
        "instructions, on others their sums saturate",
    )
    group.add_argument(
        "--calibrate",
        type=Path,
        metavar="TEXT",
        help="with w8a8, int8 and int4: a text file that the model reads first, for better "
        "rounding (default: none)",
    )


def export_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of export_model() and check_export() that the options set."""
    return {name: getattr(options, name) for name in _ARGUMENTS}


class _CommaSeparated:
    """A parser, for argparse's `type`, of choices with commas between them."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = choices

    def __call__(self, value: str) -> list[str]:
        for choice in value.split(","):
            if choice not in self.choices:
                raise argparse.ArgumentTypeError(
                    f"invalid choice: {choice!r} (choose from {', '.join(self.choices)})"
                )
        return value.split(",")


def _layers(value: str) -> str | list[int]:
    """Parse "all", or numbers with commas between them."""
    try:
        return value if value == "all" else [int(number) for number in value.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"invalid value: {value!r} (all, or numbers of layers with commas between them)"
        ) from error
