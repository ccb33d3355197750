"""One call of generate(), checked: everything that a strategy needs to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.batch_encoding import left_padded
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation import arguments
from gptneo_onnx.runtime.generation.assistant import assistant_of
from gptneo_onnx.runtime.generation.chain import ChainFactory, PrefixAllowedTokens, Prompt
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.config_checks import check_mode
from gptneo_onnx.runtime.generation.config_combination import (
    asked_names,
    coerced_config,
    over,
    read_config,
)
from gptneo_onnx.runtime.generation.noise import TokenNoise, sequence_noise
from gptneo_onnx.runtime.generation.outputs import StepRecorder
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor, LogitsProcessorList
from gptneo_onnx.runtime.generation.processors.guidance import (
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
from gptneo_onnx.runtime.generation.stopping_criteria import (
    MaxTimeCriteria,
    StoppingCriteria,
    StoppingCriteriaList,
)
from gptneo_onnx.runtime.generation.strategies.hooks import CallerHooks
from gptneo_onnx.runtime.generation.strategies.slot_batch import Guidance, SlotBatch
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.generation.token_healing import heal_prompts
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class GenerationCall:
    """One call of generate(), checked.

    Attributes:
        engine: steps the model.
        config: the config of the model, of the caller and of the call's arguments, combined.
        input_ids: int64 [batch, width], as the caller passed them (or healed).
        prompts: one for each row of input_ids.
        max_new_tokens: how many tokens to generate at most; see limit_of().
        hooks: the caller's processors and criteria.
        criteria: the config's criteria, but for max_time; see begin().
        chain_factory: makes the config's processors.
        streamer: generate()'s argument.
        guidance: the negative prompts, if there are any.
        saved: prompts whose caches may be used; None if the caller passed none.
        assistant: the engine that drafts tokens, if there is one.
    """

    engine: Engine
    config: GenerationConfig
    input_ids: Ids
    prompts: Sequence[Prompt]
    max_new_tokens: int
    hooks: CallerHooks
    criteria: StoppingCriteriaList
    chain_factory: ChainFactory
    streamer: Streamer | None
    guidance: Guidance | None
    saved: PromptCache | None
    assistant: Engine | None

    @property
    def engines(self) -> list[Engine]:
        """The engines that the call steps."""
        return [self.engine] if self.assistant is None else [self.engine, self.assistant]

    @property
    def is_assisted(self) -> bool:
        """Whether candidates are proposed, by a draft model or by prompt lookup."""
        is_looked_up = self.config.prompt_lookup_num_tokens is not None
        return self.assistant is not None or is_looked_up

    @property
    def repeats(self) -> int:
        """Rows of the batch for each prompt."""
        return max(self.config.num_beams, self.config.num_return_sequences)

    @property
    def slots(self) -> int:
        """Slots of the cache that the call needs."""
        if self.is_assisted:  # prompts take turns: a step of several tokens takes a single slot
            return 1
        return len(self.prompts) * self.repeats * (2 if self.guidance else 1)

    def limit_of(self, prompt: Prompt) -> int:
        """Return how many tokens follow a prompt at most."""
        return self.max_new_tokens if prompt.max_new_tokens is None else prompt.max_new_tokens

    def decoder(self) -> Decoder:
        """Return the engine's decoder, with room for the call's sequences.

        Raises:
            InputError: the caller's saved prompts belong to another model.
        """
        decoder = self.engine.decoder(self.slots, self.config.prefill_chunk_size)
        if self.saved is not None:
            vocab_size = self.engine.config.vocab_size
            self.saved.check(self.engine.fingerprint, decoder.cache, vocab_size)
        return decoder

    def batch(self, decoder: Decoder, prompts: Sequence[Prompt], repeats: int) -> SlotBatch:
        """Return the rows of some prompts, to be generated together."""
        ids = [prompt.ids for prompt in prompts]
        return SlotBatch(
            decoder,
            ids,
            repeats=repeats,
            guidance=self.guidance,
            saved=self.saved,
            allow_invalid=self.config.remove_invalid_values,  # which makes them finite
        )

    def record(self) -> StepRecorder:
        """Return an empty record of what the output holds."""
        config = self.config
        is_dict = config.return_dict_in_generate
        return StepRecorder(
            wants_scores=is_dict and config.output_scores,
            wants_logits=is_dict and bool(config.output_logits),
            wants_cache=is_dict and self.saved is not None,
        )

    def noise(self, prompts: Sequence[Prompt]) -> list[TokenNoise | None]:
        """Return the noise that each prompt's tokens are drawn by; None for greedy decoding."""
        if not self.config.do_sample:
            return [None] * len(prompts)
        return [*sequence_noise(self.config.seed, [prompt.ids for prompt in prompts])]

    def chains(self, prompt: Prompt) -> tuple[LogitsProcessorList, LogitsProcessorList]:
        """Return the config's processors for a prompt: those before and after the caller's.

        A processor of the caller's replaces the config's of its class; warpers are never replaced.
        """
        replaced = {type(processor) for processor in self.hooks.processors}
        processors = self.chain_factory.processors(prompt)
        remaining = (each for each in processors if type(each) not in replaced)
        return LogitsProcessorList(remaining), self.chain_factory.warpers()

    def begin(self) -> StoppingCriteriaList:
        """Begin to generate: return the config's criteria; max_time counts from now.

        A criterion of the caller's replaces the config's of its class.

        A caller's StructuredOutput begins a new text. Not before: while this call waited, another
        one may have used it.
        """
        for processor in self.hooks.processors:
            if isinstance(processor, StructuredOutput):
                processor.reset()
        criteria = list(self.criteria)
        if self.config.max_time is not None:
            criteria.insert(0, MaxTimeCriteria(self.config.max_time))
        replaced = {type(criterion) for criterion in self.hooks.criteria}
        return StoppingCriteriaList(each for each in criteria if type(each) not in replaced)


def prepare_call(
    engine: Engine,
    defaults: GenerationConfig,
    *,
    input_ids: ArrayLike | None = None,
    attention_mask: ArrayLike | None = None,
    generation_config: GenerationConfig | None = None,
    streamer: Streamer | None = None,
    logits_processor: Sequence[LogitsProcessor] | None = None,
    stopping_criteria: Sequence[StoppingCriteria] | None = None,
    prefix_allowed_tokens_fn: PrefixAllowedTokens | None = None,
    assistant_model: Any = None,
    self_draft: bool = False,
    negative_prompt_ids: ArrayLike | None = None,
    negative_prompt_attention_mask: ArrayLike | None = None,
    past_key_values: PromptCache | None = None,
    tokenizer: Tokenizer | None = None,
    inputs: ArrayLike | None = None,
    use_model_defaults: bool | None = None,
    limits: Sequence[int | None] | None = None,
    **kwargs: Any,
) -> GenerationCall:
    """Check generate()'s arguments and combine them; only token healing steps the model here.

    Args:
        engine: steps the model.
        defaults: the model's own config.
        input_ids, ...: as GPTNeoForCausalLM.generate takes them.
        limits: makes lengths count each prompt's own tokens: the most new tokens of each, or None
            where the config says how many. By default lengths count columns, as in transformers.

    Raises:
        InputError: an argument, id or mask cannot be used, or two arguments exclude each other.
    """
    own = coerced_config(generation_config)
    base = defaults if generation_config is None else over(own, defaults, use_model_defaults)
    given = base.updated(**kwargs)
    assistant = (self_draft or None) if assistant_model is None else assistant_model
    is_drafted = assistant is not None
    check_mode(given, given.get_generation_mode(assistant), {*asked_names(own), *kwargs})
    config = read_config(given, is_drafted)
    ids = arguments.single_input(input_ids, inputs, config)
    arguments.check_assistance(config, is_drafted)
    saved = None if past_key_values is None else PromptCache.coerce(past_key_values)
    tokenizer = arguments.coerced_tokenizer(tokenizer)
    names = ("input_ids", "attention_mask")
    if attention_mask is None:
        attention_mask = arguments.mask_of_padding(ids, config)
        names = ("input_ids", f"the mask that leaves out pad_token_id {config.pad_token_id}")
    batch = PaddedInputs.check(ids, attention_mask, engine.config, padding="left", names=names)
    if config.token_healing:
        batch = _healed(engine, batch, tokenizer)
    prompts = arguments.prompts_of(batch)
    context = engine.config.max_position_embeddings
    if limits is None:
        new_tokens = arguments.max_new_tokens(
            config, batch.input_ids.shape[1], batch.longest, context
        )
    else:
        prompts = arguments.with_own_lengths(prompts, limits, config, context)
        new_tokens = max(prompt.max_new_tokens or 1 for prompt in prompts)
    hooks = arguments.caller_hooks(config, logits_processor, stopping_criteria)
    limit = arguments.replaced_limit(hooks, config, new_tokens, batch, context)
    if limit != new_tokens:  # a caller's criterion counts columns, and is the same for all
        prompts = [replace(prompt, max_new_tokens=None) for prompt in prompts]
    arguments.check_holes(batch, engine.config, limit, names[1])
    call = GenerationCall(
        engine=engine,
        config=config,
        input_ids=batch.input_ids,
        prompts=prompts,
        max_new_tokens=limit,
        hooks=hooks,
        criteria=arguments.config_criteria(config, tokenizer),
        chain_factory=ChainFactory(
            config, new_tokens, engine.config.vocab_size, prefix_allowed_tokens_fn
        ),
        streamer=streamer,
        guidance=arguments.guidance_of(
            config,
            prompts,
            limit,
            engine.config,
            negative_prompt_ids,
            negative_prompt_attention_mask,
        ),
        saved=saved,
        assistant=assistant_of(assistant_model, self_draft, engine),
    )
    _check_combinations(call)
    call.chains(prompts[0])  # processors check their arguments when they are made
    return call


def _healed(engine: Engine, batch: PaddedInputs, tokenizer: Tokenizer | None) -> PaddedInputs:
    if tokenizer is None:
        raise InputError(
            "token_healing encodes prompts again, and has no tokenizer; pass tokenizer="
        )
    prompts = [prompt.ids.tolist() for prompt in arguments.prompts_of(batch)]
    healed = left_padded(heal_prompts(engine, prompts, tokenizer), tokenizer.eos_token_id)
    return PaddedInputs.check(**healed, config=engine.config, padding="left")


def _check_combinations(call: GenerationCall) -> None:
    for processor in call.hooks.processors:
        if (
            isinstance(processor, UnbatchedClassifierFreeGuidanceLogitsProcessor)
            and getattr(processor.model, "engine", None) is call.engine
        ):
            raise InputError(
                "logits_processor has a UnbatchedClassifierFreeGuidanceLogitsProcessor that calls "
                "the model that generates; pass guidance_scale and negative_prompt_ids instead, "
                "which give the same"
            )
    rows = len(call.prompts) * call.repeats
    if call.streamer is not None and (rows > 1 or call.config.num_beams > 1):
        raise InputError(f"a streamer takes one sequence, and there are {rows}")
    has_hooks = bool(call.hooks.processors or call.hooks.criteria)
    if call.is_assisted and has_hooks and len(call.prompts) > 1:
        raise InputError(
            "logits_processor and stopping_criteria see a whole batch, and assisted decoding takes "
            f"its {len(call.prompts)} prompts one by one; pass one prompt at a time"
        )
