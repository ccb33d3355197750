"""pipeline("text-generation"): from prompts to their continuations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack, overload

import numpy as np

from gptneo_onnx.runtime.batch_encoding import left_padded
from gptneo_onnx.runtime.clean_up import clean_up_spaces
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.generation.config import GenerationConfig, explicit_names
from gptneo_onnx.runtime.generation.config_combination import (
    asked_length,
    coerced_config,
    over,
    read_config,
)
from gptneo_onnx.runtime.generation.generate import check_and_generate
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.argument_names import check_names
from gptneo_onnx.runtime.pipelines.argument_types import TextGenerationCall
from gptneo_onnx.runtime.pipelines.arguments import CallArguments, raise_lengths
from gptneo_onnx.runtime.pipelines.base import BasePipeline
from gptneo_onnx.runtime.pipelines.inputs import each_input, with_batches
from gptneo_onnx.runtime.pipelines.prompts import Chat, PipelinePrompt, PromptReader, is_chat
from gptneo_onnx.runtime.tokenizer import Tokenizer

# The defaults of transformers.TextGenerationPipeline.
DEFAULTS = GenerationConfig(max_new_tokens=256, do_sample=True, temperature=0.7)

Results = list[dict[str, Any]]


class TextGenerationPipeline(BasePipeline):
    """Continues prompts; see pipeline()."""

    task = "text-generation"

    def __init__(
        self,
        model: GPTNeoForCausalLM,
        tokenizer: Tokenizer,
        task_specific_params: Mapping[str, Any],
        assistant_model: GPTNeoForCausalLM | str | None = None,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.assistant_model = assistant_model
        task_params = dict(task_specific_params)
        prefix = task_params.pop("prefix", "")
        self._defaults, generation = CallArguments.split(kwargs, CallArguments(prefix=prefix))
        check_names(generation, vars(model.generation_config), is_call=False)
        defaults = over(DEFAULTS, model.generation_config, use_model_defaults=True)
        if asked_length(defaults) is not None:  # keep a length that the model's config sets
            defaults = defaults.updated(max_new_tokens=None)
        explicit = {**task_params, **generation}
        if generation.get("max_length") is not None:
            explicit = {"max_new_tokens": None, **explicit}
        self.generation_config = defaults.updated(**explicit)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self, text_inputs: str, **kwargs: Unpack[TextGenerationCall]
    ) -> Results: ...

    @overload
    def __call__(
        self, text_inputs: Sequence[Mapping[str, Any]], **kwargs: Unpack[TextGenerationCall]
    ) -> Results: ...

    @overload
    def __call__(
        self,
        text_inputs: Sequence[str] | Sequence[Sequence[Mapping[str, Any]]],
        **kwargs: Unpack[TextGenerationCall],
    ) -> list[Results]: ...

    @overload
    def __call__(
        self, text_inputs: Iterator[Any], **kwargs: Unpack[TextGenerationCall]
    ) -> Iterator[Results]: ...

    @overload
    def __call__(self, text_inputs: Any, **kwargs: Unpack[TextGenerationCall]) -> Any: ...

    def __call__(self, text_inputs: Any, **kwargs: Unpack[TextGenerationCall]) -> Any:
        """Continue one prompt, or each of several.

        Args:
            text_inputs: a text, or several: a list, a column of a data set, or lists of texts as a
                DataLoader gives them, whose results are in lists, too. An iterator is read as
                results are asked for, and gives an iterator; so does transformers' KeyDataset. A
                chat, a list of messages {"role": ..., "content": ...}, takes the place of a text
                where the tokenizer has a chat template; its "generated_text" is the messages with
                the answer.

        Keyword Args:
            return_full_text: whether results begin with the prompt; True by default.
            return_text: return "generated_text", as by default.
            return_tensors: return "generated_token_ids".
            clean_up_tokenization_spaces: whether spaces before punctuation are removed; True by
                default, as in transformers.
            skip_special_tokens: whether special tokens are left out of texts; True by default.
            prefix: put before every prompt, and left out of the results.
            handle_long_generation: "hole" cuts prompts on the left so that the new tokens fit; None
                refuses prompts that are too long.
            stop_sequence: a text whose tokens become the end tokens.
            continue_final_message: whether a chat's last message is continued; by default an
                assistant's is.
            truncation: whether prompts are cut on the right to max_length tokens, which then does
                not limit results.
            add_special_tokens: whether the tokenizer puts its special tokens around prompts.
            tokenizer_encode_kwargs: further arguments of the tokenizer, and of a chat's template.
            batch_size: how many prompts are generated together; 1 by default.
            streamer: is given the text as it is generated; for a single prompt.
            generation_config: replaces the pipeline's config; combined with the model's.
            kwargs: other arguments of generate().

        Returns:
            For each prompt a list of num_return_sequences results {"generated_text": ...}. With a
            seed, a result does not depend on other prompts or on batch_size, but for a prompt that
            occurs twice in a call: it is continued differently each time. max_length and
            min_length count a prompt's own tokens, in any batch.

        Raises:
            InputError: an unknown argument, an empty prompt or one that is too long.
        """
        arguments, generation = CallArguments.split(kwargs, self._defaults)
        check_names(generation, vars(self.generation_config))
        if isinstance(text_inputs, str) or is_chat(text_inputs):
            one = text_inputs if isinstance(text_inputs, str) else Chat.of(text_inputs)
            [results] = self._continue_each([one], arguments, **generation)
            return results
        inputs = each_input(text_inputs, "a text or several", "prompts are")

        def run(items: Iterable[Any]) -> Iterator[Results]:
            prompts = (Chat.of(each) if isinstance(each, list | tuple) else each for each in items)
            return self._continue_each(prompts, arguments, **generation)

        all_results = with_batches(inputs, run)
        return all_results if isinstance(inputs, Iterator) else list(all_results)

    def config_for(
        self, generation_config: GenerationConfig | None = None, **kwargs: Any
    ) -> tuple[GenerationConfig, dict[str, Any]]:
        """Return the config of a call with these arguments, and the arguments that no config has.

        max_length removes the default of max_new_tokens.
        """
        if kwargs.get("max_length") is not None:
            kwargs.setdefault("max_new_tokens", None)
        base = self.generation_config
        if generation_config is not None:
            base = over(coerced_config(generation_config), self.model.generation_config)
        fields = {name: value for name, value in kwargs.items() if name in DEFAULT_VALUES}
        others = {name: value for name, value in kwargs.items() if name not in DEFAULT_VALUES}
        return base.updated(**fields), others

    def _continue_each(
        self,
        texts: Iterable[str | Chat],
        arguments: CallArguments,
        *,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Results]:
        """Yield each prompt's results; reads a batch of texts when its first result is needed."""
        if arguments.stop_sequence is not None:
            kwargs["eos_token_id"] = self.tokenizer.encode(arguments.stop_sequence, False)
        if arguments.is_cut:
            cut = {"truncation": arguments.truncation, "max_length": kwargs.pop("max_length", None)}
            arguments = replace(arguments, tokenizer_encode_kwargs=arguments.encoding | cut)
        prefix = arguments.prefix
        prefix_length = len(self.tokenizer.encode(prefix, False)) if prefix else 0
        raised = raise_lengths(kwargs, prefix_length)
        config, others = self.config_for(generation_config, **raised)
        length = read_config(config).max_length if asked_length(config) is not None else None
        if "max_length" not in kwargs and length and config.max_new_tokens is None:
            config = config.updated(max_length=length + prefix_length)
        if self.assistant_model is not None:
            others.setdefault("assistant_model", self.assistant_model)
        is_default_length = generation_config is None and "max_new_tokens" not in explicit_names(
            config
        )
        reader = PromptReader(
            self.model, self.tokenizer, arguments, read_config(config), is_default_length
        )
        for batch_texts in in_groups(texts, arguments.batch_size):
            yield from self._continue_batch(reader.read(batch_texts), arguments, config, others)

    def _continue_batch(
        self,
        prompts: list[PipelinePrompt],
        arguments: CallArguments,
        config: GenerationConfig,
        others: Mapping[str, Any],
    ) -> list[Results]:
        """Return the results of a batch, each as if its prompt were alone."""
        output = self._generate(prompts, config, others)
        # A criterion of the caller's may replace the limits.
        has_limits = not others.get("stopping_criteria")
        return self._results(prompts, output, arguments, config, has_limits)

    def _generate(
        self, prompts: list[PipelinePrompt], config: GenerationConfig, others: Mapping[str, Any]
    ) -> Any:
        """Return what generate() makes of a batch, each prompt with its own limit and seeds."""
        changes: dict[str, Any] = {"token_healing": False}  # the prompts are healed already
        if config.do_sample:
            changes["seed"] = tuple(seed for prompt in prompts for seed in prompt.seeds)
        return check_and_generate(
            self.model.engine,
            self.model.generation_config,
            **left_padded([each.input_ids for each in prompts], self.tokenizer.eos_token_id),
            generation_config=config.updated(**changes),
            tokenizer=self.tokenizer,
            limits=[prompt.max_new_tokens for prompt in prompts],
            **others,
        )

    def _results(
        self,
        prompts: list[PipelinePrompt],
        output: Any,
        arguments: CallArguments,
        config: GenerationConfig,
        has_limits: bool,
    ) -> list[Results]:
        """Return each prompt's results from the output of generate()."""
        sequences = output if isinstance(output, np.ndarray) else output.sequences
        scores = getattr(output, "sequences_scores", None)
        width = max(len(prompt.input_ids) for prompt in prompts)
        count = config.num_return_sequences
        results: list[Results] = []
        for row, prompt in enumerate(prompts):
            prompt_results = []
            for index in range(row * count, (row + 1) * count):
                end = width + prompt.max_new_tokens if has_limits else None
                new_ids = without_padding(sequences[index, width:end].tolist(), config)
                result = self._result(prompt, new_ids, arguments)
                if scores is not None:
                    result["sequences_scores"] = float(scores[index])
                if not arguments.return_tensors:
                    result.update(_steps_of(output, index, len(sequences)))
                prompt_results.append(result)
            results.append(prompt_results)
        return results

    def _result(
        self, prompt: PipelinePrompt, new_ids: list[int], arguments: CallArguments
    ) -> dict[str, Any]:
        ids = [*prompt.input_ids, *new_ids]
        if arguments.return_tensors:
            return {"generated_token_ids": ids}
        new_text = self._new_text(prompt.ids, ids, arguments)
        if not arguments.return_full_text:
            return {"generated_text": new_text}
        if isinstance(prompt.text, str):
            return {"generated_text": prompt.text + new_text}
        continues = prompt.text.continues(arguments.continue_final_message)
        return {"generated_text": prompt.text.followed_by(new_text, continues)}

    def _new_text(self, prompt: list[int], ids: list[int], arguments: CallArguments) -> str:
        """Return what `ids` add to the text of the prompt.

        Some tokenizers decode a token differently at the start of a text, so the new tokens are
        decoded after the prompt. A first new token may take away the space that ends the prompt
        ("Wait " and "." are cleaned up to "Wait."): then the text is cut before it is cleaned up.
        transformers cuts it afterwards, by the prompt's length, and loses that token.
        """
        skip, clean_up = arguments.skip_special_tokens, arguments.clean_up_tokenization_spaces
        whole, begin = (self.tokenizer.decode(each, skip, clean_up) for each in (ids, prompt))
        if whole.startswith(begin):
            return whole[len(begin) :]
        whole, begin = (self.tokenizer.decode(each, skip, False) for each in (ids, prompt))
        new_text = whole[_common_length(whole, begin) :]
        return clean_up_spaces(new_text) if clean_up else new_text


def _steps_of(output: Any, index: int, results: int) -> dict[str, Any]:
    """Return a result's scores and logits, lists [steps][vocab], if the output has them.

    transformers leaves them out too where beams make more rows than there are results.
    """
    steps = {name: getattr(output, name, None) for name in ("scores", "logits")}
    return {
        name: np.stack([step[index] for step in values]).tolist()
        for name, values in steps.items()
        if values and len(values[0]) == results
    }


def _common_length(first: str, second: str) -> int:
    """Return with how many equal characters two texts begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))


def without_padding(new_ids: list[int], config: GenerationConfig) -> list[int]:
    """Return what was generated, without the tokens that fill up a finished sequence."""
    for index, token in enumerate(new_ids):
        if token in config.eos_token_ids:
            return new_ids[: index + 1]
    while new_ids and new_ids[-1] == config.pad_token_id:
        new_ids = new_ids[:-1]
    return new_ids
