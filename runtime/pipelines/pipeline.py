"""pipeline(): the one call that loads a model for a task."""

from pathlib import Path
from typing import Any, Literal, overload

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.runtime.base_model import GPTNeoModel
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureExtractionPipeline
from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
from gptneo_onnx.runtime.tokenizer import Tokenizer

TEXT_GENERATION, FEATURE_EXTRACTION = "text-generation", "feature-extraction"


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: str | Path | GPTNeoForCausalLM | GPTNeoModel | None = None,
    tokenizer: Tokenizer | None = None,
    device: str | int = "auto",
    *,
    file_name: str | None = None,
    **kwargs: Any,
) -> FeatureExtractionPipeline: ...


@overload
def pipeline(
    task: Literal["text-generation"] | None = None,
    model: str | Path | GPTNeoForCausalLM | None = None,
    tokenizer: Tokenizer | None = None,
    device: str | int = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    *,
    file_name: str | None = None,
    **kwargs: Any,
) -> TextGenerationPipeline: ...


def pipeline(
    task: str | None = None,
    model: str | Path | GPTNeoForCausalLM | GPTNeoModel | None = None,
    tokenizer: Tokenizer | None = None,
    device: str | int = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    *,
    file_name: str | None = None,
    **kwargs: Any,
) -> TextGenerationPipeline | FeatureExtractionPipeline:
    """A pipeline, as transformers.pipeline makes it.

    Args:
        task: "text-generation", which None stands for too, or "feature-extraction".
        model: an exported directory, or a model loaded from one; needed.
        tokenizer: by default the one beside the model.
        device: auto, cpu, cuda or cuda:N, or transformers' number: N of a GPU, -1 for the CPU; for
            models given by directory.
        assistant_model: a smaller model that drafts tokens; results stay the same. For generation.
        file_name: which of the directory's graphs to run, if not its model.onnx.
        kwargs: default arguments for every call.

    Raises:
        InputError: another task, a model that must be exported first, an unknown argument.
        ModelFileError: the model or its tokenizer is damaged or missing.
    """
    if task not in (None, TEXT_GENERATION, FEATURE_EXTRACTION):
        raise InputError(f"task is {task!r}; {TEXT_GENERATION} or {FEATURE_EXTRACTION} is allowed")
    if model is None:
        raise InputError("no model was given; pass model=, an exported directory")
    loaded, tokenizer, params = _loaded(model, tokenizer, _device_name(device), file_name)
    if task == FEATURE_EXTRACTION:
        if assistant_model is not None:
            raise InputError(f"{task} has no assistant_model; leave it out")
        return FeatureExtractionPipeline(loaded, tokenizer, **kwargs)
    if isinstance(loaded, GPTNeoModel):
        raise InputError(f"{TEXT_GENERATION} needs a GPTNeoForCausalLM; pass one, or a directory")
    if assistant_model is not None and not isinstance(assistant_model, GPTNeoForCausalLM):
        assistant_model = GPTNeoForCausalLM.from_pretrained(
            assistant_model, device=_device_name(device)
        )
    return TextGenerationPipeline(loaded, tokenizer, params, assistant_model, **kwargs)


def _loaded(
    model: str | Path | GPTNeoForCausalLM | GPTNeoModel,
    tokenizer: Tokenizer | None,
    device: str,
    file_name: str | None,
) -> tuple[GPTNeoForCausalLM | GPTNeoModel, Tokenizer, dict[str, Any]]:
    """The model, its tokenizer, and what its config says of generation."""
    if isinstance(model, GPTNeoForCausalLM | GPTNeoModel):
        if file_name is not None:
            raise InputError(f"file_name is {shown(file_name)}, and the model is loaded already")
        if tokenizer is None:
            raise InputError("a loaded model comes without its tokenizer; pass tokenizer=")
        return model, tokenizer, {}
    loaded = GPTNeoForCausalLM.from_pretrained(model, device=device, file_name=file_name)
    tokenizer = tokenizer or Tokenizer.from_pretrained(model)
    return loaded, tokenizer, task_specific_params(Path(model))


def _device_name(device: str | int) -> str:
    if isinstance(device, str):
        return device
    if type(device) is not int or device < -1:
        raise InputError(f"device is {shown(device)}; a GPU's number, -1, or a name is allowed")
    return "cpu" if device == -1 else f"cuda:{device}"


def task_specific_params(directory: Path) -> dict[str, Any]:
    """What config.json says for text generation: EleutherAI's sets do_sample and temperature."""
    params = read_json_object(directory / CONFIG_FILE).get("task_specific_params") or {}
    own = params.get(TEXT_GENERATION, {}) if isinstance(params, dict) else None
    if not isinstance(own, dict):
        raise ModelFileError(f"{directory / CONFIG_FILE}: task_specific_params must hold objects")
    return own
