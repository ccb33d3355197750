"""pipeline("text-generation"): from prompts to text in one call."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, overload

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.runtime.generation_config import GenerationConfig
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

TASKS = ("text-generation",)
# transformers.TextGenerationPipeline's own defaults.
DEFAULTS = GenerationConfig(max_new_tokens=256, do_sample=True, temperature=0.7)

Results = list[dict[str, Any]]


def pipeline(
    task: str,
    model: str | Path | GPTNeoForCausalLM,
    tokenizer: Tokenizer | None = None,
    device: str = "auto",
    **kwargs: Any,
) -> "TextGenerationPipeline":
    """A pipeline, as transformers.pipeline makes it.

    Args:
        task: "text-generation".
        model: an exported directory, or a model loaded from one.
        tokenizer: by default the one beside the model.
        device: auto, cpu, cuda or cuda:N; for a model given by directory.
        kwargs: default arguments for generate().

    Raises:
        InputError: another task, a model that must be exported first, an unknown argument.
        ModelFileError: the model or its tokenizer is damaged or missing.
    """
    if task not in TASKS:
        raise InputError(f"task is {task!r}; {' or '.join(TASKS)} is allowed")
    if isinstance(model, GPTNeoForCausalLM):
        if tokenizer is None:
            raise InputError("a loaded model comes without its tokenizer; pass tokenizer=")
        return TextGenerationPipeline(model, tokenizer, {}, **kwargs)
    loaded = GPTNeoForCausalLM.from_pretrained(model, device=device)
    return TextGenerationPipeline(
        loaded,
        tokenizer or Tokenizer.from_pretrained(model),
        task_specific_params(Path(model)),
        **kwargs,
    )


class TextGenerationPipeline:
    """Continues prompts; see pipeline()."""

    def __init__(
        self,
        model: GPTNeoForCausalLM,
        tokenizer: Tokenizer,
        task_specific_params: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        defaults = _over_defaults(DEFAULTS, model.generation_config)
        if defaults.max_length is not None:  # a model that sets its own length keeps it
            defaults = defaults.update(max_new_tokens=None)
        self.generation_config = _with_lengths(defaults.update(**task_specific_params), kwargs)

    @overload
    def __call__(self, text_inputs: str, **kwargs: Any) -> Results: ...

    @overload
    def __call__(self, text_inputs: Iterable[str], **kwargs: Any) -> list[Results]: ...

    def __call__(self, text_inputs: str | Iterable[str], **kwargs: Any) -> Results | list[Results]:
        """Continue one prompt, or each of several.

        Args:
            text_inputs: a text, or several.
            return_full_text: whether results begin with the prompt; True by default.
            streamer: for a single prompt.
            kwargs: fields of GenerationConfig.

        Returns:
            For each prompt a list of num_return_sequences results {"generated_text": ...}. Every
            result is as if its prompt had come alone.

        Raises:
            InputError: an unknown argument, an empty or too long prompt.
        """
        if isinstance(text_inputs, str):
            return self._continue(text_inputs, **kwargs)
        return [self._continue(text, **kwargs) for text in text_inputs]

    def _continue(
        self, text: str, *, return_full_text: bool = True, streamer: Any = None, **kwargs: Any
    ) -> Results:
        prompt = self.tokenizer.encode(text)
        if not prompt:
            raise InputError(
                f"the prompt is empty; give at least one character, or "
                f"{self.tokenizer.eos_token or 'the end-of-text token'} to start from nothing"
            )
        config = self._fitted(_with_lengths(self.generation_config, kwargs), kwargs, len(prompt))
        generated = self.model.generate([prompt], generation_config=config, streamer=streamer)
        results = [
            self.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True) for ids in generated
        ]
        start = text if return_full_text else ""
        return [{"generated_text": start + result} for result in results]

    def _fitted(
        self, config: GenerationConfig, kwargs: Mapping[str, Any], length: int
    ) -> GenerationConfig:
        """A default number of new tokens is cut to what the context holds; an explicit one not."""
        room = self.model.config.max_position_embeddings - length
        if "max_new_tokens" in kwargs or config.max_new_tokens is None:
            return config
        return config.update(max_new_tokens=max(1, min(config.max_new_tokens, room)))


def _over_defaults(defaults: GenerationConfig, model_config: GenerationConfig) -> GenerationConfig:
    """The pipeline's defaults, and what the model sets where the pipeline sets nothing."""
    plain = GenerationConfig()
    changes = {
        field.name: getattr(model_config, field.name)
        for field in fields(GenerationConfig)
        if getattr(defaults, field.name) == getattr(plain, field.name)
    }
    return defaults.update(**changes)


def _with_lengths(config: GenerationConfig, kwargs: Mapping[str, Any]) -> GenerationConfig:
    """The config with these arguments, where max_length alone lifts a default max_new_tokens."""
    if kwargs.get("max_length") is not None and "max_new_tokens" not in kwargs:
        config = config.update(max_new_tokens=None)
    return config.update(**kwargs)


def task_specific_params(directory: Path) -> dict[str, Any]:
    """What config.json says for text generation: EleutherAI's sets do_sample and temperature."""
    params = read_json_object(directory / CONFIG_FILE).get("task_specific_params") or {}
    own = params.get(TASKS[0], {}) if isinstance(params, dict) else None
    if not isinstance(own, dict):
        raise ModelFileError(f"{directory / CONFIG_FILE}: task_specific_params must hold objects")
    return own
