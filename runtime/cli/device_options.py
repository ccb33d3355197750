"""The options by which every command loads a model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM


def add_file_name(command: Any) -> None:
    """Which of a directory's graphs."""
    command.add_argument("--file-name", metavar="FILE", help="of MODEL's graphs, if not model.onnx")


def add_device(command: Any) -> None:
    """Where it runs."""
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument("--threads", type=int, metavar="N", help="default: one per physical core")


def load_model(
    directory: str | Path,
    options: argparse.Namespace,
    file_name: str | None = None,
    device: str | None = None,
) -> "GPTNeoForCausalLM":
    """The model of a directory, on the device of the options if no other is named."""
    from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM

    return GPTNeoForCausalLM.from_pretrained(
        directory,
        device=options.device if device is None else device,
        num_threads=options.threads,
        file_name=file_name,
    )
