"""From the arguments of generate() to a checked Call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.chain import PrefixAllowedTokens, Prompt
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.generate import GenerationCall
from gptneo_onnx.runtime.generation.lengths import max_new_tokens
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor, LogitsProcessorList
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from gptneo_onnx.runtime.generation.strategies.sequences import CallerHooks
from gptneo_onnx.runtime.generation.strategies.slot_batch import Guidance
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.generation.token_healing import heal_prompts
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class Arguments:
    """What generate() takes besides inputs and config; its docstring says what each is."""

    streamer: Streamer | None = None
    logits_processor: Sequence[LogitsProcessor] | None = None
    stopping_criteria: Sequence[StoppingCriteria] | None = None
    prefix_allowed_tokens_fn: PrefixAllowedTokens | None = None
    assistant_model: Any = None
    negative_prompt_ids: ArrayLike | None = None
    negative_prompt_attention_mask: ArrayLike | None = None
    past_key_values: PromptCache | None = None
    tokenizer: Tokenizer | None = None


def prepare_call(
    engine: Engine,
    config: GenerationConfig,
    input_ids: ArrayLike,
    attention_mask: ArrayLike | None,
    arguments: Arguments,
) -> GenerationCall:
    """Check everything before the first step.

    Raises:
        InputError: an argument, id or mask that cannot be used, or two that exclude each other.
    """
    _check_modes(config, arguments)
    PromptCache.coerce(arguments.past_key_values)
    if not isinstance(arguments.tokenizer, Tokenizer | None):
        raise InputError(
            f"tokenizer is of type {type(arguments.tokenizer).__name__}; a "
            "gptneo_onnx.runtime.Tokenizer is expected: Tokenizer.from_pretrained(directory)"
        )
    if attention_mask is None:
        attention_mask = _mask_of_padding(input_ids, config)
    inputs = PaddedInputs.check(input_ids, attention_mask, engine.config, side="left")
    if config.token_healing:
        inputs = _healed(engine, inputs, arguments.tokenizer)
    prompts = _prompts(inputs)
    new_tokens = max_new_tokens(
        config, inputs.input_ids.shape[1], inputs.longest, engine.config.max_position_embeddings
    )
    call = GenerationCall(
        config,
        inputs.input_ids,
        prompts,
        new_tokens,
        engine.config.vocab_size,
        _own(config, arguments),
        arguments.prefix_allowed_tokens_fn,
        arguments.streamer,
        arguments.tokenizer,
        _guidance(config, arguments, prompts, new_tokens, engine.config),
        arguments.past_key_values,
        # Of another exporter's model it takes a while, so only whoever keeps prompts asks.
        "" if arguments.past_key_values is None else engine.fingerprint,
    )
    _check_combinations(call, arguments, engine)
    return call


def require_single_input(input_ids: ArrayLike | None, inputs: ArrayLike | None) -> ArrayLike:
    """The prompts, which transformers takes under either name.

    Raises:
        InputError: none were given, or two.
    """
    given = inputs if input_ids is None else input_ids
    if given is None or (input_ids is not None and inputs is not None):
        raise InputError(
            "generate() takes input_ids, or inputs, which is another name of it; pass one of them"
        )
    return given


def check_streamer(streamer: Any) -> None:
    """Raise InputError unless it has what generate() calls."""
    if not all(callable(getattr(streamer, name, None)) for name in ("put", "end")):
        raise InputError(
            f"streamer is of type {type(streamer).__name__}; an object with put() and end() is "
            "expected, such as a TextStreamer"
        )


def _check_modes(config: GenerationConfig, arguments: Arguments) -> None:
    config.check_supported()
    greedy_rows = config.num_return_sequences > 1 and not config.do_sample
    if greedy_rows and config.num_beams == 1:
        raise InputError(
            f"num_return_sequences is {config.num_return_sequences}, but greedy decoding has "
            "one result per prompt; pass do_sample=True, or num_beams"
        )
    is_assisted = (
        arguments.assistant_model is not None or config.prompt_lookup_num_tokens is not None
    )
    if not is_assisted:
        return
    assisted = "assistant_model and prompt_lookup_num_tokens"
    if arguments.assistant_model is not None and config.prompt_lookup_num_tokens is not None:
        raise InputError(f"{assisted} exclude each other; pass one of them")
    for name, least in (("num_beams", 1), ("num_return_sequences", 1), ("guidance_scale", None)):
        value = getattr(config, name)
        if value not in (least, 1):
            raise InputError(f"{name} is {value}; with {assisted} only {least} is allowed")


def _check_combinations(call: GenerationCall, arguments: Arguments, engine: Engine) -> None:
    rows = len(call.prompts) * call.repeats
    if call.streamer is not None and (rows > 1 or call.config.num_beams > 1):
        raise InputError(f"a streamer takes one sequence, and there are {rows}")
    assistant = arguments.assistant_model
    if assistant is not None:
        _check_assistant(assistant, engine)
    is_assisted = assistant is not None or call.config.prompt_lookup_num_tokens is not None
    if is_assisted and len(call.prompts) > 1 and (call.own.processors or call.own.criteria):
        raise InputError(
            "logits_processor and stopping_criteria see a whole batch, and assisted decoding takes "
            f"its {len(call.prompts)} prompts one by one; pass one prompt at a time"
        )


def _check_assistant(assistant: Any, engine: Engine) -> None:
    drafting = getattr(assistant, "engine", None)
    if not isinstance(drafting, Engine):
        raise InputError(
            f"assistant_model is of type {type(assistant).__name__}; "
            "a GPTNeoForCausalLM is expected"
        )
    if drafting is engine:
        raise InputError("assistant_model is the model itself; a smaller one is expected")
    if drafting.config.vocab_size != engine.config.vocab_size:
        raise InputError(
            f"assistant_model has a vocabulary of {drafting.config.vocab_size} tokens and the "
            f"model one of {engine.config.vocab_size}; they must have the same tokenizer"
        )


def _own(config: GenerationConfig, arguments: Arguments) -> CallerHooks:
    processors = _callables("logits_processor", arguments.logits_processor)
    for processor in processors:
        if isinstance(processor, StructuredOutput):  # a new call is a new text
            processor.reset()
    return CallerHooks(
        LogitsProcessorList(processors),
        StoppingCriteriaList(_callables("stopping_criteria", arguments.stopping_criteria)),
        config.fill_token_id,
    )


def _callables(name: str, given: Any) -> list[Any]:
    found = [] if given is None else given
    if not isinstance(found, Sequence) or not all(callable(each) for each in found):
        raise InputError(
            f"{name} is of type {type(given).__name__}; a list of callables is allowed"
        )
    return list(found)


def _guidance(
    config: GenerationConfig,
    arguments: Arguments,
    prompts: Sequence[Prompt],
    new_tokens: int,
    model: GPTNeoConfig,
) -> Guidance | None:
    """Without negative prompts, each prompt's last token is its own (as in transformers)."""
    is_given = arguments.negative_prompt_ids is not None
    if is_given and config.guidance_scale is None:
        raise InputError("negative_prompt_ids need a weight; pass guidance_scale too, say 1.5")
    if arguments.negative_prompt_attention_mask is not None and not is_given:
        raise InputError("negative_prompt_attention_mask masks nothing; pass negative_prompt_ids")
    if config.guidance_scale is None or config.guidance_scale == 1:
        return None
    if arguments.negative_prompt_ids is None:
        return Guidance(config.guidance_scale, [prompt.ids[-1:] for prompt in prompts])
    inputs = PaddedInputs.check(
        arguments.negative_prompt_ids,
        arguments.negative_prompt_attention_mask,
        model,
        side="left",
        names=("negative_prompt_ids", "negative_prompt_attention_mask"),
    )
    negative = [prompt.ids for prompt in _prompts(inputs)]
    if len(negative) not in (1, len(prompts)):
        raise InputError(
            f"negative_prompt_ids has {len(negative)} rows, input_ids {len(prompts)}; "
            "one for each prompt is expected, or one for all"
        )
    negative *= len(prompts) // len(negative)
    if inputs.longest + new_tokens > model.max_position_embeddings:
        raise InputError(
            f"a negative prompt has {inputs.longest} tokens and {new_tokens} are to follow, more "
            f"than the context of {model.max_position_embeddings}; shorten it"
        )
    return Guidance(config.guidance_scale, negative)


def _prompts(inputs: PaddedInputs) -> list[Prompt]:
    return [
        Prompt(inputs.input_ids[row, columns], row, int(columns.start))
        for row, columns in enumerate(inputs.columns)
    ]


def _healed(engine: Engine, inputs: PaddedInputs, tokenizer: Tokenizer | None) -> PaddedInputs:
    if tokenizer is None:
        raise InputError(
            "token_healing encodes prompts anew, and has no tokenizer; pass tokenizer="
        )
    prompts = [prompt.ids.tolist() for prompt in _prompts(inputs)]
    healed = tokenizer.pad(heal_prompts(engine, prompts, tokenizer))
    return PaddedInputs.check(**healed, config=engine.config, side="left")


def _mask_of_padding(input_ids: ArrayLike, config: GenerationConfig) -> NDArray[np.bool_] | None:
    """As transformers infers it (GenerationMixin._prepare_attention_mask_for_generation)."""
    pad = config.pad_token_id
    if pad is None or pad in config.eos_token_ids or not isinstance(input_ids, np.ndarray | list):
        return None
    is_padding = [[token == pad for token in row] for row in input_ids if np.ndim(row) == 1]
    return ~np.array(is_padding) if any(map(any, is_padding)) else None
