"""pipeline("text-generation"): from prompts to text in one call."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object, shown
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.runtime.generation.generation_config import GenerationConfig
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipeline_arguments import CallArguments, prompt_ids, with_lengths
from gptneo_onnx.runtime.tokenizer import Tokenizer

TASKS = ("text-generation",)
# transformers.TextGenerationPipeline's own defaults.
DEFAULTS = GenerationConfig(max_new_tokens=256, do_sample=True, temperature=0.7)

Results = list[dict[str, Any]]


def pipeline(
    task: str,
    model: str | Path | GPTNeoForCausalLM,
    tokenizer: Tokenizer | None = None,
    device: str | int = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    **kwargs: Any,
) -> "TextGenerationPipeline":
    """A pipeline, as transformers.pipeline makes it.

    Args:
        task: "text-generation".
        model: an exported directory, or a model loaded from one.
        tokenizer: by default the one beside the model.
        device: auto, cpu, cuda or cuda:N, or transformers' number: N of a GPU, -1 for the CPU; for
            models given by directory.
        assistant_model: a smaller model that drafts tokens; results stay the same.
        kwargs: default arguments for every call.

    Raises:
        InputError: another task, a model that must be exported first, an unknown argument.
        ModelFileError: the model or its tokenizer is damaged or missing.
    """
    if task not in TASKS:
        raise InputError(f"task is {task!r}; {' or '.join(TASKS)} is allowed")
    device = _device_name(device)
    if assistant_model is not None and not isinstance(assistant_model, GPTNeoForCausalLM):
        assistant_model = GPTNeoForCausalLM.from_pretrained(assistant_model, device=device)
    if isinstance(model, GPTNeoForCausalLM):
        if tokenizer is None:
            raise InputError("a loaded model comes without its tokenizer; pass tokenizer=")
        return TextGenerationPipeline(model, tokenizer, {}, assistant_model, **kwargs)
    loaded = GPTNeoForCausalLM.from_pretrained(model, device=device)
    return TextGenerationPipeline(
        loaded,
        tokenizer or Tokenizer.from_pretrained(model),
        task_specific_params(Path(model)),
        assistant_model,
        **kwargs,
    )


class TextGenerationPipeline:
    """Continues prompts; see pipeline()."""

    def __init__(
        self,
        model: GPTNeoForCausalLM,
        tokenizer: Tokenizer,
        task_specific_params: Mapping[str, Any],
        assistant_model: GPTNeoForCausalLM | None = None,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.assistant_model = assistant_model
        own, generation = CallArguments.split(kwargs)
        self._defaults = own
        defaults = DEFAULTS.over(model.generation_config)
        if defaults.max_length is not None:  # a model that sets its own length keeps it
            defaults = defaults.update(max_new_tokens=None)
        explicit = {**task_specific_params, **generation}
        self._has_default_length = "max_new_tokens" not in explicit
        if generation.get("max_length") is not None:
            explicit = {"max_new_tokens": None, **explicit}
        self.generation_config = defaults.update(**explicit)

    @overload
    def __call__(self, text_inputs: str, **kwargs: Any) -> Results: ...

    @overload
    def __call__(self, text_inputs: Sequence[str], **kwargs: Any) -> list[Results]: ...

    @overload
    def __call__(self, text_inputs: Iterator[str], **kwargs: Any) -> Iterator[Results]: ...

    def __call__(
        self, text_inputs: str | Iterable[str], **kwargs: Any
    ) -> Results | list[Results] | Iterator[Results]:
        """Continue one prompt, or each of several.

        Args:
            text_inputs: a text, or several; of an iterator, results come as an iterator too.
            return_full_text: whether results begin with the prompt; True by default.
            return_text, return_tensors: "generated_text" is returned, or "generated_token_ids".
            clean_up_tokenization_spaces: whether spaces before punctuation are removed; True by
                default, as in transformers.
            skip_special_tokens: whether special tokens are left out of texts; True by default.
            prefix: put before every prompt, and left out of the results.
            handle_long_generation: "hole" cuts prompts on the left so that what is to be generated
                fits; None refuses those that are too long.
            stop_sequence: its tokens become the end tokens.
            batch_size: prompts generated together; 1 by default.
            streamer: for a single prompt.
            generation_config: instead of the pipeline's own.
            kwargs: other arguments of generate().

        Returns:
            For each prompt a list of num_return_sequences results {"generated_text": ...}. Every
            result is as if its prompt had come alone; with batch_size above 1, but that lengths
            count a batch's padding and its longest prompt, and seeds are drawn for each batch.

        Raises:
            InputError: an unknown argument, an empty or too long prompt.
        """
        arguments, generation = CallArguments.split(kwargs, self._defaults)
        if isinstance(text_inputs, str):
            return self._continue([text_inputs], arguments, **generation)[0]
        if not isinstance(text_inputs, Iterable):
            raise InputError(
                f"prompts are of type {type(text_inputs).__name__}; a text or several are expected"
            )
        results = self._continue_each(text_inputs, arguments, generation)
        return results if isinstance(text_inputs, Iterator) else list(results)

    def _continue_each(
        self, texts: Iterable[str], arguments: CallArguments, generation: Mapping[str, Any]
    ) -> Iterator[Results]:
        waiting = iter(texts)
        while batch := list(islice(waiting, arguments.batch_size)):
            yield from self._continue(batch, arguments, **generation)

    def _continue(
        self,
        texts: list[str],
        arguments: CallArguments,
        *,
        streamer: Streamer | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> list[Results]:
        base = generation_config or self.generation_config
        if arguments.stop_sequence is not None:
            kwargs["eos_token_id"] = self.tokenizer.encode(arguments.stop_sequence)
        kwargs = with_lengths(kwargs, arguments, self.tokenizer)
        config = base.update(**_fields(kwargs))
        context = self.model.config.max_position_embeddings
        prompts = prompt_ids(texts, arguments, self.tokenizer, config, context)
        is_own = base is self.generation_config and self._has_default_length
        if is_own and "max_new_tokens" not in kwargs and config.max_new_tokens is not None:
            room = context - max(map(len, prompts))  # the default is cut to the context
            kwargs["max_new_tokens"] = max(1, min(config.max_new_tokens, room))
        if self.assistant_model is not None:
            kwargs.setdefault("assistant_model", self.assistant_model)
        output = self.model.generate(
            **self.tokenizer.pad(prompts),
            generation_config=base,
            streamer=streamer,
            tokenizer=self.tokenizer,
            **kwargs,
        )
        return self._results(texts, prompts, output, arguments, config)

    def _results(
        self,
        texts: list[str],
        prompts: list[list[int]],
        output: Any,
        arguments: CallArguments,
        config: GenerationConfig,
    ) -> list[Results]:
        sequences = output if isinstance(output, np.ndarray) else output.sequences
        width, count = max(map(len, prompts)), config.num_return_sequences
        results: list[Results] = []
        for row, (text, prompt) in enumerate(zip(texts, prompts, strict=True)):
            own = sequences[row * count : (row + 1) * count, width:]
            results.append(
                [self._result(text, prompt, _cut(ids.tolist(), config), arguments) for ids in own]
            )
            scores: Any = getattr(output, "sequences_scores", None)
            for index, result in enumerate([] if scores is None else results[-1]):
                result["sequences_scores"] = float(scores[row * count + index])
        return results

    def _result(
        self, text: str, prompt: list[int], generated: list[int], arguments: CallArguments
    ) -> dict[str, Any]:
        if arguments.return_tensors:
            return {"generated_token_ids": [*prompt, *generated]}

        def decoded(ids: list[int]) -> str:
            return self.tokenizer.decode(
                ids, arguments.skip_special_tokens, arguments.clean_up_tokenization_spaces
            )

        # Not the new tokens alone: some tokenizers write a token otherwise at the start of a text.
        new = decoded([*prompt, *generated])[len(decoded(prompt)) :]
        return {"generated_text": text + new if arguments.return_full_text else new}


def _fields(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of generate()'s arguments that GenerationConfig has."""
    known = GenerationConfig.__dataclass_fields__
    return {name: value for name, value in kwargs.items() if name in known}


def _cut(generated: list[int], config: GenerationConfig) -> list[int]:
    """Without what fills up a sequence that finished before others."""
    ends = [index for index, token in enumerate(generated) if token in config.eos_token_ids]
    if ends:
        return generated[: ends[0] + 1]
    while generated and generated[-1] == config.pad_token_id:
        generated = generated[:-1]
    return generated


def _device_name(device: str | int) -> str:
    if isinstance(device, str):
        return device
    if type(device) is not int or device < -1:
        raise InputError(f"device is {shown(device)}; a GPU's number, -1, or a name is allowed")
    return "cpu" if device == -1 else f"cuda:{device}"


def task_specific_params(directory: Path) -> dict[str, Any]:
    """What config.json says for text generation: EleutherAI's sets do_sample and temperature."""
    params = read_json_object(directory / CONFIG_FILE).get("task_specific_params") or {}
    own = params.get(TASKS[0], {}) if isinstance(params, dict) else None
    if not isinstance(own, dict):
        raise ModelFileError(f"{directory / CONFIG_FILE}: task_specific_params must hold objects")
    return own
