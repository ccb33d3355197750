"""pipeline("text-generation"): from prompts to text in one call."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, overload

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.runtime.generation.generation_config import GenerationConfig
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
        defaults = DEFAULTS.over(model.generation_config)
        if defaults.max_length is not None:  # a model that sets its own length keeps it
            defaults = defaults.update(max_new_tokens=None)
        explicit = {**task_specific_params, **kwargs}
        self._has_default_length = "max_new_tokens" not in explicit
        if kwargs.get("max_length") is not None:
            explicit = {"max_new_tokens": None, **explicit}
        self.generation_config = defaults.update(**explicit)

    @overload
    def __call__(self, text_inputs: str, **kwargs: Any) -> Results: ...

    @overload
    def __call__(self, text_inputs: Iterable[str], **kwargs: Any) -> list[Results]: ...

    def __call__(self, text_inputs: str | Iterable[str], **kwargs: Any) -> Results | list[Results]:
        """Continue one prompt, or each of several.

        Args:
            text_inputs: a text, or several.
            return_full_text: whether results begin with the prompt; True by default.
            clean_up_tokenization_spaces: whether spaces before punctuation are removed; True by
                default, as in transformers.
            streamer: for a single prompt.
            generation_config: instead of the pipeline's own.
            kwargs: fields of GenerationConfig.

        Returns:
            For each prompt a list of num_return_sequences results {"generated_text": ...}. Every
            result is as if its prompt had come alone.

        Raises:
            InputError: an unknown argument, an empty or too long prompt.
        """
        if isinstance(text_inputs, str):
            return self._continue(text_inputs, **kwargs)
        if not isinstance(text_inputs, Iterable):
            raise InputError(
                f"prompts are of type {type(text_inputs).__name__}; a text or several are expected"
            )
        return [self._continue(text, **kwargs) for text in text_inputs]

    def _continue(
        self,
        text: str,
        *,
        return_full_text: bool = True,
        clean_up_tokenization_spaces: bool = True,
        streamer: Any = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Results:
        prompt = self.tokenizer.encode(text)
        if not prompt:
            raise InputError(
                f"the prompt is empty; give at least one character, or "
                f"{self.tokenizer.eos_token or 'the end-of-text token'} to start from nothing"
            )
        base = generation_config or self.generation_config
        arguments = kwargs | self._lengths(base, kwargs, len(prompt))
        generated = self.model.generate(
            [prompt], generation_config=base, streamer=streamer, **arguments
        )

        def decoded(ids: Any) -> str:
            return self.tokenizer.decode(ids, True, clean_up_tokenization_spaces)

        # Not the new tokens alone: some tokenizers write a token otherwise at the start of a text.
        start = len(decoded(prompt))
        full = text if return_full_text else ""
        return [{"generated_text": full + decoded(ids)[start:]} for ids in generated]

    def _lengths(
        self, config: GenerationConfig, kwargs: Mapping[str, Any], length: int
    ) -> dict[str, Any]:
        """max_length alone lifts the default max_new_tokens, which else is cut to the context."""
        if kwargs.get("max_new_tokens") is not None or config is not self.generation_config:
            return {}
        if kwargs.get("max_length") is not None:
            return {"max_new_tokens": None}
        if config.max_new_tokens is None or not self._has_default_length:
            return {}
        room = self.model.config.max_position_embeddings - length
        return {"max_new_tokens": max(1, min(config.max_new_tokens, room))}


def task_specific_params(directory: Path) -> dict[str, Any]:
    """What config.json says for text generation: EleutherAI's sets do_sample and temperature."""
    params = read_json_object(directory / CONFIG_FILE).get("task_specific_params") or {}
    own = params.get(TASKS[0], {}) if isinstance(params, dict) else None
    if not isinstance(own, dict):
        raise ModelFileError(f"{directory / CONFIG_FILE}: task_specific_params must hold objects")
    return own
