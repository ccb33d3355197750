"""pipeline("text-generation"): from prompts to text in one call."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.arguments import CallArguments, with_prefix
from gptneo_onnx.runtime.pipelines.prompts import PipelinePrompt, PromptReader
from gptneo_onnx.runtime.tokenizer import Tokenizer

# transformers.TextGenerationPipeline's own defaults.
DEFAULTS = GenerationConfig(max_new_tokens=256, do_sample=True, temperature=0.7)

Results = list[dict[str, Any]]
_FIELDS = GenerationConfig.__dataclass_fields__


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
            generation_config: instead of the pipeline's own, over the model's.
            kwargs: other arguments of generate().

        Returns:
            For each prompt a list of num_return_sequences results {"generated_text": ...}. With a
            seed, every result is as if its prompt had come alone, whatever batch_size is, but that
            max_length and min_length count a batch's padding, and that a prompt that comes again
            in the call goes on differently.

        Raises:
            InputError: an unknown argument, an empty or too long prompt.
        """
        arguments, generation = CallArguments.split(kwargs, self._defaults)
        if isinstance(text_inputs, str):
            [results] = self._continue_each([text_inputs], arguments, **generation)
            return results
        if not isinstance(text_inputs, Iterable):
            raise InputError(
                f"prompts are of type {type(text_inputs).__name__}; a text or several are expected"
            )
        each = self._continue_each(text_inputs, arguments, **generation)
        return each if isinstance(text_inputs, Iterator) else list(each)

    def config_for(
        self, generation_config: GenerationConfig | None = None, **kwargs: Any
    ) -> tuple[GenerationConfig, dict[str, Any]]:
        """What a call with these arguments goes by, and those that no config holds.

        max_length lifts the default max_new_tokens.
        """
        if kwargs.get("max_length") is not None:
            kwargs.setdefault("max_new_tokens", None)
        base = self.generation_config
        if generation_config is not None:
            base = GenerationConfig.coerce(generation_config).over(self.model.generation_config)
        config = base.update(**{name: kwargs[name] for name in kwargs if name in _FIELDS})
        return config, {name: value for name, value in kwargs.items() if name not in _FIELDS}

    def _continue_each(
        self,
        texts: Iterable[str],
        arguments: CallArguments,
        *,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Results]:
        if arguments.stop_sequence is not None:
            kwargs["eos_token_id"] = self.tokenizer.encode(arguments.stop_sequence)
        kwargs = with_prefix(kwargs, arguments, self.tokenizer)
        config, others = self.config_for(generation_config, **kwargs)
        if self.assistant_model is not None:
            others.setdefault("assistant_model", self.assistant_model)
        is_default_length = generation_config is None and "max_new_tokens" not in config.explicit
        reader = PromptReader(self.model, self.tokenizer, arguments, config, is_default_length)
        waiting = iter(texts)
        while batch := list(islice(waiting, arguments.batch_size)):
            yield from self._continue(reader.read(batch), arguments, config, others)

    def _continue(
        self,
        prompts: list[PipelinePrompt],
        arguments: CallArguments,
        config: GenerationConfig,
        others: Mapping[str, Any],
    ) -> Iterator[Results]:
        """Generate a batch; apart from the others those that may not have as many tokens."""
        results: dict[int, Results] = {}
        for limit in {prompt.max_new_tokens: None for prompt in prompts}:
            rows = [row for row, prompt in enumerate(prompts) if prompt.max_new_tokens == limit]
            own = [prompts[row] for row in rows]
            changes: dict[str, Any] = {} if limit is None else {"max_new_tokens": limit}
            if config.do_sample:
                changes["seed"] = tuple(seed for prompt in own for seed in prompt.seeds)
            output = self.model.generate(
                **self.tokenizer.pad([prompt.given for prompt in own]),
                generation_config=config.update(token_healing=False, **changes),
                tokenizer=self.tokenizer,
                **others,
            )
            results.update(zip(rows, self._results(own, output, arguments, config), strict=True))
        return (results[row] for row in range(len(prompts)))

    def _results(
        self,
        prompts: list[PipelinePrompt],
        output: Any,
        arguments: CallArguments,
        config: GenerationConfig,
    ) -> list[Results]:
        sequences = output if isinstance(output, np.ndarray) else output.sequences
        has_scores = getattr(output, "sequences_scores", None) is not None
        width = max(len(prompt.given) for prompt in prompts)
        count = config.num_return_sequences
        results: list[Results] = []
        for row, prompt in enumerate(prompts):
            own = slice(row * count, (row + 1) * count)
            generated = [_cut(ids.tolist(), config) for ids in sequences[own, width:]]
            results.append([self._result(prompt, ids, arguments) for ids in generated])
            for index, result in enumerate(results[-1] if has_scores else []):
                result["sequences_scores"] = float(output.sequences_scores[own][index])
        return results

    def _result(
        self, prompt: PipelinePrompt, generated: list[int], arguments: CallArguments
    ) -> dict[str, Any]:
        ids = [*prompt.given, *generated]
        if arguments.return_tensors:
            return {"generated_token_ids": ids}

        def decoded(ids: list[int]) -> str:
            return self.tokenizer.decode(
                ids, arguments.skip_special_tokens, arguments.clean_up_tokenization_spaces
            )

        # Not the new tokens alone: some tokenizers write a token otherwise at the start of a text.
        new = decoded(ids)[len(decoded(prompt.ids)) :]
        return {"generated_text": prompt.text + new if arguments.return_full_text else new}


def _cut(generated: list[int], config: GenerationConfig) -> list[int]:
    """Without what fills up a sequence that finished before others."""
    ends = [index for index, token in enumerate(generated) if token in config.eos_token_ids]
    if ends:
        return generated[: ends[0] + 1]
    while generated and generated[-1] == config.pad_token_id:
        generated = generated[:-1]
    return generated
