"""Loading an exported directory: its model, its tokenizer, and its arguments for generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

TEXT_GENERATION = "text-generation"


@dataclass(frozen=True)
class LoadedModel:
    """A model with what comes beside it.

    Attributes:
        model: the model.
        tokenizer: the directory's tokenizer, or the one that the caller passed.
        task_specific_params: what config.json sets for text generation.
    """

    model: GPTNeoForCausalLM
    tokenizer: Tokenizer
    task_specific_params: Mapping[str, Any]


def load_with_tokenizer(
    directory: str | Path,
    *,
    device: str = "auto",
    num_threads: int | None = None,
    file_name: str | None = None,
    tokenizer: Tokenizer | None = None,
) -> LoadedModel:
    """Load an exported directory.

    Args:
        directory: made by `gptneo-onnx export`, or by another exporter.
        device: auto, cpu, cuda or cuda:N.
        num_threads: threads of one operator; None takes one per physical core.
        file_name: which of the directory's graphs to run, if not its model.onnx.
        tokenizer: used instead of the directory's.

    Raises:
        InputError: an argument out of range, or a directory that was not exported.
        ModelFileError: the model or its tokenizer is damaged or missing.
        DeviceError: the device was asked for by name and cannot be had.
    """
    model = GPTNeoForCausalLM.from_pretrained(
        directory, device=device, num_threads=num_threads, file_name=file_name
    )
    if tokenizer is None:
        tokenizer = Tokenizer.from_pretrained(directory)
    return LoadedModel(model, tokenizer, _task_specific_params(Path(directory)))


def _task_specific_params(directory: Path) -> dict[str, Any]:
    """Read what config.json sets for text generation: EleutherAI sets do_sample and temperature."""
    params = read_json_object(directory / CONFIG_FILE).get("task_specific_params") or {}
    task_params = params.get(TEXT_GENERATION, {}) if isinstance(params, dict) else None
    if not isinstance(task_params, dict):
        raise ModelFileError(f"{directory / CONFIG_FILE}: task_specific_params must hold objects")
    return task_params
