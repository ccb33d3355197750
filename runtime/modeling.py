"""GPTNeoForCausalLM: an exported model with the interface of transformers' class."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.checkpoint_source import SourceArguments
from gptneo_onnx.runtime.engine.call_arguments import (
    causal_loss,
    check_call_arguments,
    kept_columns,
)
from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.forward import checked_layers, forward
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.engine.prefill import prefill_prompts
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.arguments import check_holes, check_streamer
from gptneo_onnx.runtime.generation.call import prepare_call
from gptneo_onnx.runtime.generation.chain import PrefixAllowedTokens
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.config_combination import model_generation_config
from gptneo_onnx.runtime.generation.generate import generate, generate_tokens
from gptneo_onnx.runtime.generation.outputs import compute_transition_scores
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteria
from gptneo_onnx.runtime.generation.strategies.sequences import GeneratedToken
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.model_output import CausalLMOutput
from gptneo_onnx.runtime.on_demand_export import exported_directory
from gptneo_onnx.runtime.tokenizer import Tokenizer


class GPTNeoForCausalLM:
    """transformers.GPTNeoForCausalLM on ONNX Runtime.

    Threads may call one model: a call waits until those before it have ended.

    Attributes:
        engine: steps the model.
        config: the model's dimensions.
        generation_config: the model's own defaults for generate().
    """

    def __init__(self, engine: Engine, generation_config: GenerationConfig | None = None) -> None:
        self.engine = Engine.of(engine)
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
        mmap: bool = False,
        precision: str | None = None,
        spin: bool | None = None,
        batch_invariant: bool = False,
        **source: Unpack[SourceArguments],
    ) -> "GPTNeoForCausalLM":
        """Load an exported directory, or a checkpoint, which is exported on first use.

        Args:
            directory: made by gptneo-onnx, by optimum-cli, or for transformers.js; a checkpoint's;
                or a hub id. A checkpoint's export is kept in the cache folder.
            device: auto (CUDA if it can be had, else the CPU), cpu, cuda or cuda:N.
            slots: sequences to make room for at once; a larger batch makes more when it comes.
            num_threads: threads of one operator; None as GPTNEO_ONNX_THREADS says, or one per core.
            provider_options: options of ONNX Runtime's execution provider.
            file_name: which graph to run, if not model.onnx, as in optimum.onnxruntime.
            mmap: whether float32 weights stay in the mapped file: loads at once; steps of several
                tokens take two to three times as long; last bits differ. docs/speed.md.
            precision: which precision to run of a directory with several; by default the first.
                Of a checkpoint: which to export, fp32 by default.
            spin: whether threads spin while they wait; None as GPTNEO_ONNX_SPIN says.
            batch_invariant: whether bits are the same in any batch (docs/precision.md).
            source: revision, cache_dir, token, export, ... (runtime/checkpoint_source.py).

        Raises:
            InputError: an argument is out of range, or there is no such model.
            ModelFileError: the model is damaged, was changed, or is of a kind that is not run here.
            ExportError, MissingDependencyError: a checkpoint cannot be exported or fetched.
            DeviceError: the device was asked for by name and cannot be used.
        """
        heads = (Head.CAUSAL_LM,)
        path, precision = exported_directory(directory, precision, heads, file_name, **source)
        options = num_threads, provider_options, file_name, heads, mmap, precision
        engine = Engine.load(path, device, slots, *options, spin, batch_invariant)
        return cls(engine, model_generation_config(engine.path))

    @property
    def prefill_chunk(self) -> int:
        """Tokens of a prompt that one step reads at most: the engine's."""
        return self.engine.prefill_chunk

    @prefill_chunk.setter
    def prefill_chunk(self, tokens: int) -> None:
        self.engine.prefill_chunk = tokens

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
        labels: ArrayLike | None = None,
        logits_to_keep: int | ArrayLike = 0,
        **kwargs: Any,
    ) -> Any:
        """Return the logits after every token, and hidden states if they are asked for.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on either side.
            position_ids: int [batch, sequence]; by default the columns' numbers, padding included,
                as in transformers. generate() counts from each sequence's first token instead.
            output_hidden_states: True for all layers, as transformers numbers them: the embeddings,
                then after each block, the last one after the final normalization too. Or numbers
                of layers; negative ones count from the end. Exports give the layers that
                --hidden-states named.
            labels: int [batch, sequence], usually input_ids, -100 where they do not count: the
                output has the mean loss of each label by the logits before it.
            logits_to_keep: how many of the last columns get logits, 0 for all; or their numbers.
            kwargs: return_dict=False makes the result a tuple. Other arguments of transformers
                pass where they change nothing, such as use_cache=True or head_mask=None.

        Returns:
            A CausalLMOutput.

        Raises:
            InputError: ids are out of range, a sequence is longer than the context, the graph lacks
                a layer or cannot compute a mask with holes, or an argument asks for what it lacks.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config)
        has_names = check_call_arguments(kwargs, inputs.input_ids.shape[1])
        kept = kept_columns(logits_to_keep, inputs.input_ids.shape[1])
        checked_labels = None if labels is None else inputs.labels(labels, self.config)
        positions = inputs.positions(position_ids, self.config)
        layers = checked_layers(output_hidden_states, self.hidden_layers, self.config.num_layers)
        with self.engine.exclusive():
            decoder = self.engine.decoder(slots=1)
            logits, states = forward(
                decoder, inputs, positions, self.config, layers, with_logits=True
            )
        loss = None if checked_labels is None else causal_loss(logits, checked_labels)
        if len(kept) < logits.shape[1] or not isinstance(logits_to_keep, int):
            logits = logits[:, kept]
        output = CausalLMOutput(loss, logits, states if layers else None)
        return output if has_names else output.to_tuple()

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
        assistant_model: "GPTNeoForCausalLM | str | None" = None,
        negative_prompt_ids: ArrayLike | None = None,
        negative_prompt_attention_mask: ArrayLike | None = None,
        past_key_values: PromptCache | None = None,
        tokenizer: Tokenizer | None = None,
        inputs: ArrayLike | None = None,
        use_model_defaults: bool | None = None,
        **kwargs: Any,
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
            negative_prompt_ids: int [batch, sequence], the prompts that guidance_scale leads away
                from.
            negative_prompt_attention_mask: their mask.
            past_key_values: saved prompts, from prefill() or an earlier output; PromptCache() if
                there are none yet. What they hold of the prompts is not prefilled again. With
                return_dict_in_generate, the output has the caches of its sequences.
            tokenizer: needed by stop_strings and token_healing.
            inputs: another name of input_ids.
            use_model_defaults: whether generation_config takes from the model's own config what it
                does not set, or only the tokens; None decides as transformers does, by the release
                that wrote the model's file.
            kwargs: fields of GenerationConfig, over both configs; or self_draft=True, which takes
                the smallest precision for assistant_model.

        Returns:
            int64 [batch * num_return_sequences, length], prompts included; finished sequences are
            filled up with the pad token. Lengths count columns, padding included, as in
            transformers. With return_dict_in_generate a GenerateDecoderOnlyOutput, or a
            GenerateBeamDecoderOnlyOutput, whose `sequences` are these.

        Raises:
            InputError: an argument, id or mask cannot be used.
        """
        with ExitStack() as stack:
            if streamer is not None:
                check_streamer(streamer)
                # A failed call must not leave a reader waiting for text.
                stack.callback(streamer.end)
            call = prepare_call(
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
                negative_prompt_ids=negative_prompt_ids,
                negative_prompt_attention_mask=negative_prompt_attention_mask,
                past_key_values=past_key_values,
                tokenizer=tokenizer,
                inputs=inputs,
                use_model_defaults=use_model_defaults,
                **kwargs,
            )
            return generate(call)

    def generate_tokens(
        self, input_ids: ArrayLike | None = None, **kwargs: Any
    ) -> Generator[GeneratedToken, None, None]:
        """Continue each sequence; yield every token as soon as it is chosen.

            for step in model.generate_tokens(ids, max_new_tokens=20):
                print(step.row, step.token, step.log_probability, step.sequence.is_finished)

        The tokens are those of generate(). From the first token on, calls of other threads wait
        until the iterator is exhausted or closed, and a call of the thread that iterates is
        refused.

        Args:
            input_ids: int [batch, sequence].
            kwargs: generate()'s other arguments, without streamer and beams.

        Raises:
            InputError: an argument, id or mask cannot be used.
        """
        if kwargs.get("streamer") is not None:
            raise InputError(
                "streamer is not for generate_tokens(), which yields tokens itself; leave it out"
            )
        call = prepare_call(self.engine, self.generation_config, input_ids=input_ids, **kwargs)
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
        return prefill_prompts(self.engine, inputs, PromptCache.coerce(past_key_values))

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
