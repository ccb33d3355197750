"""GPTNeoForCausalLM: an exported model with the interface that transformers' has."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE
from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.engine.engine import Engine, exclusive
from gptneo_onnx.runtime.engine.forward import checked_layers, forward
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache, SavedSequence
from gptneo_onnx.runtime.generation.arguments import (
    Arguments,
    check_streamer,
    prepare_call,
    require_single_input,
)
from gptneo_onnx.runtime.generation.chain import PrefixAllowedTokens
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.generate import run
from gptneo_onnx.runtime.generation.outputs import compute_transition_scores
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteria
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class CausalLMOutput:
    """What a call gives; zeros at padded positions.

    Attributes:
        logits: float32 [batch, sequence, vocab].
        hidden_states: of each layer that was asked for, float32 [batch, sequence, hidden].
    """

    logits: NDArray[np.float32]
    hidden_states: tuple[NDArray[np.float32], ...] | None = None


class GPTNeoForCausalLM:
    """transformers.GPTNeoForCausalLM on ONNX Runtime.

    Threads may call one model: a call waits until those before it have ended.

    Attributes:
        engine: steps the model.
        config: the model's dimensions.
        generation_config: the model's own defaults for generate().
    """

    def __init__(self, engine: Engine, generation_config: GenerationConfig | None = None) -> None:
        self.engine = engine
        self.config = engine.config
        self.generation_config = generation_config or GenerationConfig()

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        device: str = "auto",
        slots: int = 1,
        num_threads: int | None = None,
        provider_options: Mapping[str, Any] | None = None,
        file_name: str | None = None,
    ) -> "GPTNeoForCausalLM":
        """Load an exported directory.

        Args:
            directory: made by `gptneo-onnx export`, by `optimum-cli export onnx`, or for
                transformers.js.
            device: auto (CUDA if it can be had, else the CPU), cpu, cuda or cuda:N.
            slots: sequences to make room for at once; a larger batch makes more when it comes.
            num_threads: threads of one operator; None takes one per physical core.
            provider_options: options of ONNX Runtime's execution provider.
            file_name: which of a directory's graphs to run, if not its model.onnx, as in
                optimum.onnxruntime.

        Raises:
            InputError: an argument out of range, or a directory that was not exported.
            ModelFileError: the model is damaged, was changed since its export, or is of a kind that
                cannot be run.
            DeviceError: the device was asked for by name and cannot be had.
        """
        engine = Engine.load(directory, device, slots, num_threads, provider_options, file_name)
        has_config = (engine.path / GENERATION_CONFIG_FILE).is_file()
        return cls(engine, GenerationConfig.from_pretrained(engine.path) if has_config else None)

    @property
    def device(self) -> Device:
        """Where the model runs."""
        return self.engine.device

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The layers whose hidden states the graph gives; see output_hidden_states."""
        return self.engine.hidden_layers

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        output_hidden_states: bool | Sequence[int] | None = None,
    ) -> CausalLMOutput:
        """Logits behind every token, and hidden states if they are asked for.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on either side.
            position_ids: int [batch, sequence]; by default the columns' numbers, padding included,
                as in transformers. generate() counts from each sequence's first token instead.
            output_hidden_states: True for those of all layers, as transformers numbers them: the
                embeddings, then behind each block, the last behind the final normalization too. Or
                the numbers of some, negative ones from the end. Exports give what --hidden-states
                asked for.

        Raises:
            InputError: ids out of range, a mask with holes, a sequence longer than the context, a
                layer that the graph does not give.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config)
        positions = inputs.positions(position_ids, self.config)
        layers = checked_layers(output_hidden_states, self.hidden_layers, self.config.num_layers)
        with self.engine.exclusive():
            decoder = self.engine.decoder(slots=1)
            logits, states = forward(
                decoder, inputs, positions, self.config, layers, with_logits=True
            )
        return CausalLMOutput(logits, states if layers else None)

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
        assistant_model: "GPTNeoForCausalLM | None" = None,
        negative_prompt_ids: ArrayLike | None = None,
        negative_prompt_attention_mask: ArrayLike | None = None,
        past_key_values: PromptCache | None = None,
        tokenizer: Tokenizer | None = None,
        inputs: ArrayLike | None = None,
        **kwargs: Any,
    ) -> Any:
        """Continue each sequence.

        Args:
            input_ids: int [batch, sequence]; `inputs` is another name of it.
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on the left. Without
                one, tokens equal to a pad_token_id that is no end token are padding.
            generation_config: over the model's own, wherever it sets anything.
            streamer: given each token as it comes; for a batch of one.
            logits_processor: processors of your own, behind those that the config asks for.
            stopping_criteria: criteria of your own, besides the config's.
            prefix_allowed_tokens_fn: given a prompt's row and ids [length], the tokens that may
                follow (De Cao et al. 2020, arXiv:2010.00904).
            assistant_model: a smaller model that drafts tokens; the result stays the same.
            negative_prompt_ids: int [batch, sequence], what guidance_scale leads away from.
            negative_prompt_attention_mask: its padding.
            past_key_values: saved prompts, of prefill() or of an earlier output; PromptCache() for
                none yet. What input_ids begins with and they hold is not prefilled again. With
                return_dict_in_generate, the output has the sequences' own.
            tokenizer: needed by stop_strings and token_healing.
            kwargs: fields of GenerationConfig, over both.

        Returns:
            int64 [batch * num_return_sequences, length], prompts included, finished sequences
            filled up with the pad token. Lengths count columns, padding included, as transformers
            counts them. With return_dict_in_generate a GenerateDecoderOnlyOutput, or a
            GenerateBeamDecoderOnlyOutput, that has this as its `sequences`.

        Raises:
            InputError: an argument, id or mask that cannot be used.
        """
        arguments = Arguments(
            streamer,
            logits_processor,
            stopping_criteria,
            prefix_allowed_tokens_fn,
            assistant_model,
            negative_prompt_ids,
            negative_prompt_attention_mask,
            past_key_values,
            tokenizer,
        )
        with ExitStack() as stack:
            if streamer is not None:
                check_streamer(streamer)
                # Whoever waits for text must not wait for a call that failed.
                stack.callback(streamer.end)
            config = GenerationConfig.coerce(generation_config).over(self.generation_config)
            config = config.update(**kwargs)
            ids = require_single_input(input_ids, inputs)
            call = prepare_call(self.engine, config, ids, attention_mask, arguments)
            assistant = None if assistant_model is None else assistant_model.engine
            stack.enter_context(exclusive(self.engine, *([assistant] if assistant else [])))
            return run(self.engine, call, assistant)

    def prefill(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        past_key_values: PromptCache | None = None,
    ) -> PromptCache:
        """Step prompts through the model and keep their caches, for generate()'s past_key_values.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on the left.
            past_key_values: saved prompts that these begin with.

        Raises:
            InputError: ids out of range, a mask with holes, a sequence longer than the context.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config, side="left")
        saved = PromptCache.coerce(past_key_values)
        fingerprint = self.engine.fingerprint
        with self.engine.exclusive():
            decoder = self.engine.decoder(slots=1)
            saved.check(fingerprint, decoder.cache, self.config.vocab_size)
            sequences = []
            for row, columns in enumerate(inputs.columns):
                ids = inputs.input_ids[row, columns]
                logits = saved.prefill(decoder, 0, ids)
                sequences.append(SavedSequence.of_slot(decoder.cache, 0, ids, logits))
        return PromptCache(tuple(sequences), fingerprint)

    def compute_transition_scores(
        self,
        sequences: NDArray[np.int64],
        scores: Sequence[NDArray[np.float32]],
        beam_indices: NDArray[np.int64] | None = None,
        normalize_logits: bool = False,
    ) -> NDArray[np.float32]:
        """The score that every generated token was chosen by, from an output with output_scores.

        Args:
            sequences: int64 [results, length], the output's.
            scores: the output's, float32 [rows, vocab] of each step.
            beam_indices: the output's, if there were beams.
            normalize_logits: whether scores become log probabilities first.

        Returns:
            float32 [results, generated]; zeros behind a beam's end.
        """
        return compute_transition_scores(sequences, scores, beam_indices, normalize_logits)
