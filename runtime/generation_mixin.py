"""GenerationMixin: the methods of a model that generates text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache, SavedSequence
from gptneo_onnx.runtime.generation.argument_types import PromptedArguments, TokenArguments
from gptneo_onnx.runtime.generation.arguments import check_holes
from gptneo_onnx.runtime.generation.call import prepare_call
from gptneo_onnx.runtime.generation.chain import PrefixAllowedTokens
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.config_fields import attributes_section
from gptneo_onnx.runtime.generation.field_types import GenerationArguments
from gptneo_onnx.runtime.generation.generate import check_and_generate, generate_tokens
from gptneo_onnx.runtime.generation.generation_fields import FIELDS, KEPT
from gptneo_onnx.runtime.generation.outputs import (
    GenerateBeamDecoderOnlyOutput,
    GenerateDecoderOnlyOutput,
    compute_transition_scores,
)
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteria
from gptneo_onnx.runtime.generation.strategies.sequences import GeneratedToken
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.tokenizer import Tokenizer

Output = GenerateDecoderOnlyOutput | GenerateBeamDecoderOnlyOutput
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _lists_fields(function: _Function) -> _Function:
    """Append what each field of GenerationConfig means to a docstring, for help()."""
    section = attributes_section(FIELDS, KEPT, "Arguments that are fields of GenerationConfig:")
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n{section}"
    return function


class GenerationMixin:
    """generate() and what belongs to it, as transformers.GenerationMixin has them.

    Attributes:
        engine: steps the model.
        config: the model's dimensions.
        generation_config: the model's own defaults for generate().
    """

    engine: Engine
    config: GPTNeoConfig
    generation_config: GenerationConfig

    @overload
    def generate(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        generation_config: None = None,
        streamer: Streamer | None = None,
        *,
        return_dict_in_generate: Literal[False] | None = None,
        **kwargs: Unpack[PromptedArguments],
    ) -> Ids: ...

    @overload
    def generate(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: Streamer | None = None,
        *,
        return_dict_in_generate: Literal[True],
        **kwargs: Unpack[PromptedArguments],
    ) -> Output: ...

    @overload
    def generate(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: Streamer | None = None,
        *,
        return_dict_in_generate: bool | None = None,
        **kwargs: Unpack[PromptedArguments],
    ) -> Any: ...

    @_lists_fields
    def generate(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: Streamer | None = None,
        *,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StoppingCriteria] | None = None,
        prefix_allowed_tokens_fn: PrefixAllowedTokens | None = None,
        assistant_model: GenerationMixin | str | None = None,
        self_draft: bool = False,
        negative_prompt_ids: ArrayLike | None = None,
        negative_prompt_attention_mask: ArrayLike | None = None,
        past_key_values: PromptCache | None = None,
        tokenizer: Tokenizer | None = None,
        inputs: ArrayLike | None = None,
        use_model_defaults: bool | None = None,
        synced_gpus: bool | None = None,
        **kwargs: Unpack[GenerationArguments],
    ) -> Any:
        """Continue each sequence.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on the left. Without
                one, tokens equal to a pad_token_id that is no end token are padding.
            generation_config: overrides the model's own config, wherever it sets something.
            streamer: receives each token as soon as it is chosen; for a single sequence.
            logits_processor: the caller's processors; they run after the config's.
            stopping_criteria: the caller's criteria; they stop sequences as the config's do.
            prefix_allowed_tokens_fn: takes a prompt's row and ids [length], and returns the tokens
                that may follow (De Cao et al. 2020, arXiv:2010.00904).
            assistant_model: a smaller model that drafts tokens, or another precision ("int4").
            self_draft: takes the smallest precision of the directory for assistant_model.
            negative_prompt_ids: int [batch, sequence], the prompts that guidance_scale leads away
                from.
            negative_prompt_attention_mask: their mask.
            past_key_values: saved prompts, from prefill() or an earlier output; PromptCache() for
                none yet. What they hold of the prompts is not prefilled again. With
                return_dict_in_generate, the output has the caches of its sequences.
            tokenizer: needed by stop_strings and token_healing.
            inputs: another name of input_ids.
            use_model_defaults: whether generation_config takes from the model's own config what it
                does not set, or only the tokens; None decides as transformers does, by the release
                that wrote the model's file.
            synced_gpus: changes nothing.
            kwargs: fields of GenerationConfig, over both configs; they are listed below.

        Returns:
            int64 [batch * num_return_sequences, length], prompts included; finished sequences are
            filled up with the pad token. Lengths count columns, padding included, as in
            transformers. With return_dict_in_generate a GenerateDecoderOnlyOutput, or a
            GenerateBeamDecoderOnlyOutput, whose `sequences` are these.

        Raises:
            InputError: an argument, id or mask cannot be used.
        """
        return check_and_generate(
            self.engine,
            self.generation_config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=generation_config,
            streamer=streamer,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
            assistant_model=assistant_model,
            self_draft=self_draft,
            negative_prompt_ids=negative_prompt_ids,
            negative_prompt_attention_mask=negative_prompt_attention_mask,
            past_key_values=past_key_values,
            tokenizer=tokenizer,
            inputs=inputs,
            use_model_defaults=use_model_defaults,
            **kwargs,
        )

    def generate_tokens(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: None = None,
        **kwargs: Unpack[TokenArguments],
    ) -> Generator[GeneratedToken, None, None]:
        """Continue each sequence; yield every token as soon as it is chosen.

            for step in model.generate_tokens(ids, max_new_tokens=20):
                print(step.row, step.token, step.log_probability, step.sequence.is_finished)

        The tokens are those of generate(). From the first token on, calls of other threads wait
        until the iterator is exhausted or closed, and a call of the thread that iterates is
        refused.

        Args:
            input_ids, attention_mask, generation_config: as in generate().
            streamer: must be None: tokens are yielded.
            kwargs: generate()'s other arguments, without beams.

        Raises:
            InputError: an argument, id or mask cannot be used.
        """
        if streamer is not None:
            raise InputError(
                "streamer is not for generate_tokens(), which yields tokens itself; leave it out"
            )
        call = prepare_call(
            self.engine,
            self.generation_config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=generation_config,
            **kwargs,
        )
        return generate_tokens(call)

    def prefill(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        past_key_values: PromptCache | None = None,
    ) -> PromptCache:
        """Prefill prompts and return their caches, for generate()'s past_key_values.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on the left.
            past_key_values: saved prompts that these begin with.

        Raises:
            InputError: ids are out of range, a sequence is longer than the context, or a mask with
                holes cannot be computed.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config, padding="left")
        check_holes(inputs, self.config, new_tokens=1, name="attention_mask")
        saved = PromptCache.coerce(past_key_values)
        fingerprint = self.engine.fingerprint
        with self.engine.exclusive():
            decoder = self.engine.decoder(slots=1)
            saved.check(fingerprint, decoder.cache, self.config.vocab_size)
            sequences = []
            for row in range(len(inputs.columns)):
                ids = inputs.tokens(row)
                logits = saved.prefill(decoder, 0, ids)
                sequences.append(SavedSequence.of_slot(decoder.cache, 0, ids, logits))
        return PromptCache(tuple(sequences), fingerprint)

    def compute_transition_scores(
        self,
        sequences: Ids,
        scores: Sequence[NDArray[np.float32]],
        beam_indices: Ids | None = None,
        normalize_logits: bool = False,
    ) -> NDArray[np.float32]:
        """Return the score that every generated token was chosen by.

        Args:
            sequences: the output's sequences, int64 [results, length].
            scores: the output's scores, float32 [rows, vocab] of each step; output_scores asks
                for them.
            beam_indices: the output's beam_indices, if there were beams.
            normalize_logits: whether to turn scores into log probabilities first.

        Returns:
            float32 [results, generated]; zeros after a result's end.
        """
        return compute_transition_scores(sequences, scores, beam_indices, normalize_logits)
