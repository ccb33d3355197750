"""pipeline(): loads a model for a task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.base_model import GPTNeoModel
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureExtractionPipeline
from gptneo_onnx.runtime.pipelines.loading import (
    TEXT_GENERATION,
    load_with_tokenizer,
    read_task_params,
)
from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
from gptneo_onnx.runtime.tokenizer import Tokenizer

FEATURE_EXTRACTION = "feature-extraction"


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: str | Path | GPTNeoForCausalLM | GPTNeoModel | None = None,
    tokenizer: Any = None,
    device: str | int = "auto",
    *,
    file_name: str | None = None,
    **kwargs: Any,
) -> FeatureExtractionPipeline: ...


@overload
def pipeline(
    task: Literal["text-generation"] | None = None,
    model: str | Path | GPTNeoForCausalLM | None = None,
    tokenizer: Any = None,
    device: str | int = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    *,
    file_name: str | None = None,
    **kwargs: Any,
) -> TextGenerationPipeline: ...


def pipeline(
    task: str | None = None,
    model: str | Path | GPTNeoForCausalLM | GPTNeoModel | None = None,
    tokenizer: Any = None,
    device: str | int = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    *,
    file_name: str | None = None,
    **kwargs: Any,
) -> TextGenerationPipeline | FeatureExtractionPipeline:
    """Make a pipeline, as transformers.pipeline() does.

    Args:
        task: "text-generation" (the default) or "feature-extraction".
        model: an exported directory, or a model loaded from one; required.
        tokenizer: by default the directory's; required with a loaded model. A directory, a
            Tokenizer, or a fast tokenizer of transformers.
        device: where to run models that are named by directory: auto, cpu, cuda or cuda:N, or a
            number as in transformers: N for cuda:N, -1 for the CPU.
        assistant_model: a smaller model that drafts tokens, for text generation; results stay the
            same.
        file_name: which of the directory's graphs to run, if not its model.onnx.
        kwargs: default arguments of every call.

    Raises:
        InputError: another task, a model that must be exported first, an unknown argument.
        ModelFileError: the model or its tokenizer is damaged or missing.
        DeviceError: the device was asked for by name and cannot be had.
    """
    if task not in (None, TEXT_GENERATION, FEATURE_EXTRACTION):
        raise InputError(f"task is {task!r}; {TEXT_GENERATION} or {FEATURE_EXTRACTION} is allowed")
    if model is None:
        raise InputError("no model was given; pass model=, an exported directory")
    device = _device_name(device)
    tokenizer = None if tokenizer is None else Tokenizer.coerce(tokenizer)
    task_params: Mapping[str, Any] = {}
    if isinstance(model, GPTNeoForCausalLM | GPTNeoModel):
        if file_name is not None:
            raise InputError(f"file_name is {shown(file_name)}, and the model is loaded already")
        if tokenizer is None:
            raise InputError("a loaded model comes without its tokenizer; pass tokenizer=")
        task_params = read_task_params(model.engine.path)
    else:
        loaded = load_with_tokenizer(model, device=device, file_name=file_name, tokenizer=tokenizer)
        model, tokenizer = loaded.model, loaded.tokenizer
        task_params = loaded.task_specific_params
    if task == FEATURE_EXTRACTION:
        if assistant_model is not None:
            raise InputError(f"{task} has no assistant_model; leave it out")
        return FeatureExtractionPipeline(model, tokenizer, **kwargs)
    if isinstance(model, GPTNeoModel):
        raise InputError(f"{TEXT_GENERATION} needs a GPTNeoForCausalLM; pass one, or a directory")
    if assistant_model is not None and not isinstance(assistant_model, GPTNeoForCausalLM):
        assistant_model = GPTNeoForCausalLM.from_pretrained(assistant_model, device=device)
    return TextGenerationPipeline(model, tokenizer, task_params, assistant_model, **kwargs)


def _device_name(device: str | int) -> str:
    """Return the runtime's name of a device that may be numbered as in transformers."""
    if isinstance(device, str):
        return device
    if type(device) is not int or device < -1:
        raise InputError(f"device is {shown(device)}; a GPU's number, -1, or a name is allowed")
    return "cpu" if device == -1 else f"cuda:{device}"
