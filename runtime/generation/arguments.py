"""The arguments of generate(): each checked, and turned into what a GenerationCall holds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Mask
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.generation.chain import Prompt
from gptneo_onnx.runtime.generation.config import DEFAULT_NEW_TOKENS, GenerationConfig
from gptneo_onnx.runtime.generation.config_combination import asked_length
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor, LogitsProcessorList
from gptneo_onnx.runtime.generation.stopping_criteria import (
    EosTokenCriteria,
    MaxLengthCriteria,
    StoppingCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)
from gptneo_onnx.runtime.generation.strategies.hooks import CallerHooks
from gptneo_onnx.runtime.generation.strategies.slot_batch import Guidance
from gptneo_onnx.runtime.tokenizer import Tokenizer


def single_input(
    input_ids: ArrayLike | None, inputs: ArrayLike | None, config: GenerationConfig
) -> ArrayLike:
    """Return the prompts, which transformers takes under either name; without any, the first token.

    Raises:
        InputError: both names were passed, or neither, and the config has no bos_token_id.
    """
    if input_ids is not None and inputs is not None:
        raise InputError(
            "generate() takes input_ids, or inputs, which is another name of it; pass one of them"
        )
    prompts = inputs if input_ids is None else input_ids
    if prompts is not None:
        return prompts
    if config.bos_token_id is None:
        raise InputError(
            "generate() got no input_ids, and the model has no bos_token_id to start with; pass "
            "one of them"
        )
    return [[config.bos_token_id]]


def check_streamer(streamer: Any) -> None:
    """Raise InputError unless a streamer has what generate() calls."""
    if not all(callable(getattr(streamer, name, None)) for name in ("put", "end")):
        raise InputError(
            f"streamer is of type {type(streamer).__name__}; an object with put() and end() is "
            "expected, such as a TextStreamer"
        )


def check_assistance(config: GenerationConfig, is_drafted: bool) -> None:
    """Raise InputError for what assisted decoding cannot do.

    Args:
        config: the call's config.
        is_drafted: whether there is an assistant_model.
    """
    is_looked_up = config.prompt_lookup_num_tokens is not None
    if not is_drafted and not is_looked_up:
        return
    assisted = "assistant_model and prompt_lookup_num_tokens"
    if is_drafted and is_looked_up:
        raise InputError(f"{assisted} exclude each other; pass one of them")
    for name, default in (("num_beams", 1), ("num_return_sequences", 1), ("guidance_scale", None)):
        value = getattr(config, name)
        if value not in (default, 1):
            raise InputError(f"{name} is {shown(value)}; with {assisted} only {default} is allowed")


def coerced_tokenizer(tokenizer: Any) -> Tokenizer | None:
    """Return generate()'s tokenizer; raise InputError unless Tokenizer.coerce() takes it."""
    return None if tokenizer is None else Tokenizer.coerce(tokenizer)


def mask_of_padding(input_ids: ArrayLike, config: GenerationConfig) -> Mask | None:
    """Return the mask that leaves pad tokens out, if the prompts have some.

    It is inferred as GenerationMixin._prepare_attention_mask_for_generation does.
    """
    pad = config.pad_token_id
    if pad is None or pad in config.eos_token_ids:
        return None
    try:
        is_padding: Mask = np.asarray(input_ids) == pad
    except Exception:  # PaddedInputs.check() says what is wrong with them
        return None
    return ~is_padding if is_padding.ndim == 2 and is_padding.any() else None


def prompts_of(batch: PaddedInputs) -> list[Prompt]:
    """Return the prompts of a batch, without their padding and holes."""
    tokens = [batch.tokens(row) for row in range(len(batch.columns))]
    width = batch.input_ids.shape[1]
    return [Prompt(ids, row, width - len(ids)) for row, ids in enumerate(tokens)]


def with_own_lengths(
    prompts: Sequence[Prompt],
    limits: Sequence[int | None],
    config: GenerationConfig,
    context: int,
) -> list[Prompt]:
    """Return prompts whose lengths are counted as if each were alone: without padding.

    Args:
        prompts: those of a call.
        limits: the most new tokens of each; None where the config says how many.
        config: the call's.
        context: the model's context, in tokens.

    Raises:
        InputError: as max_new_tokens() does for a single prompt.
    """
    own = []
    for prompt, limit in zip(prompts, limits, strict=True):
        length = len(prompt.ids)
        new_tokens = max_new_tokens(config, length, length, context) if limit is None else limit
        own.append(replace(prompt, padding=0, max_new_tokens=new_tokens))
    return own


def check_holes(batch: PaddedInputs, config: GPTNeoConfig, new_tokens: int, name: str) -> None:
    """Raise InputError where prompts without their holes would be continued in another way.

    Args:
        batch: the prompts.
        config: the model's dimensions.
        new_tokens: how many tokens to generate at most.
        name: the mask's, for messages.
    """
    if "local" not in config.layer_kinds:
        return
    for row, holes in enumerate(batch.holes):
        if holes is None:
            continue
        steps = batch.steps_without_holes(row, config.window_size, new_tokens)
        if steps >= new_tokens - 1:  # the last token is not read
            continue
        fewer = "" if steps < 0 else f", or generate at most {steps + 1} tokens"
        raise InputError(
            f"{name} of sequence {row} has holes, and with {new_tokens} new tokens the sequence "
            f"reaches past the window of {config.window_size} columns that local layers see; take "
            f"the masked tokens out{fewer}"
        )


def max_new_tokens(config: GenerationConfig, width: int, longest: int, context: int) -> int:
    """Return how many tokens to generate at most.

    Lengths that were asked for must fit; the default is cut to what fits.

    Args:
        config: says how many tokens are asked for.
        width: columns of the prompts, padding included, since max_length counts them.
        longest: tokens of the longest prompt.
        context: the model's context, in tokens.

    Raises:
        InputError: no token fits, or fewer than were asked for.
    """
    room = context - longest + 1  # the last token is not read
    if config.max_new_tokens is not None:
        wanted, name = config.max_new_tokens, f"max_new_tokens is {shown(config.max_new_tokens)}"
    elif (max_length := asked_length(config)) is not None:
        wanted, name = max_length - width, f"max_length is {shown(max_length)}"
    else:  # the default's end is the context's, padding included; where that is full, without
        default = min(DEFAULT_NEW_TOKENS, context - width if context > width else room - 1)
        if default < 1:
            raise InputError(
                f"the prompt has {longest} tokens and the model's context is {context}: by default "
                "none is added; shorten the prompt, or pass max_new_tokens=1"
            )
        return default
    if wanted < 1:
        padding = ", padding included" if width > longest else ""
        raise InputError(f"{name}, but the prompt alone has {width} tokens{padding}; raise it")
    if room < 1:
        raise InputError(
            f"the prompt has {longest} tokens, more than the context of {context}; shorten it"
        )
    if wanted > room:
        raise InputError(
            f"{name} and the prompt has {longest} tokens, more than the context of {context}; "
            f"at most {room} can be generated"
        )
    return wanted


def replaced_limit(
    hooks: CallerHooks,
    config: GenerationConfig,
    new_tokens: int,
    batch: PaddedInputs,
    context: int,
) -> int:
    """Return how many tokens to generate at most: a caller's MaxLengthCriteria replaces the config.

    With beams the config's limit stays: transformers too has no room for longer ones.

    Raises:
        InputError: the context is shorter than a caller's MaxLengthCriteria.
    """
    criteria = [each for each in hooks.criteria if isinstance(each, MaxLengthCriteria)]
    limits = [each.max_length for each in criteria if type(each) is MaxLengthCriteria]
    if not limits or config.num_beams > 1:
        return new_tokens
    length = min(limits)
    wanted = max(1, length - int(batch.input_ids.shape[1]))  # a criterion is asked after each token
    room = context - batch.longest + 1
    if wanted > room:
        raise InputError(
            f"a MaxLengthCriteria has {length}, more than the context of {context} holds; at most "
            f"{room} tokens can be generated"
        )
    return wanted


def config_criteria(config: GenerationConfig, tokenizer: Tokenizer | None) -> StoppingCriteriaList:
    """Return the criteria that the config asks for, but for max_time.

    Raises:
        InputError: there are stop strings and no tokenizer.
    """
    criteria = StoppingCriteriaList()
    if config.stop_strings is not None:
        if tokenizer is None:
            raise InputError(
                "stop_strings are looked for in text, and there is no tokenizer; pass tokenizer="
            )
        criteria.append(StopStringCriteria(tokenizer, config.stop_strings))
    if config.eos_token_ids:
        criteria.append(EosTokenCriteria(config.eos_token_ids))
    return criteria


def caller_hooks(
    config: GenerationConfig,
    logits_processor: Sequence[LogitsProcessor] | None,
    stopping_criteria: Sequence[StoppingCriteria] | None,
) -> CallerHooks:
    """Return the caller's processors and criteria."""
    processors = _callables("logits_processor", logits_processor)
    criteria = _callables("stopping_criteria", stopping_criteria)
    return CallerHooks(
        LogitsProcessorList(processors), StoppingCriteriaList(criteria), config.fill_token_id
    )


def _callables(name: str, hooks: Any) -> list[Any]:
    if hooks is None:
        return []
    if not isinstance(hooks, Sequence) or not all(callable(hook) for hook in hooks):
        raise InputError(
            f"{name} is of type {type(hooks).__name__}; a list of callables is allowed"
        )
    return list(hooks)


def guidance_of(
    config: GenerationConfig,
    prompts: Sequence[Prompt],
    new_tokens: int,
    model: GPTNeoConfig,
    negative_prompt_ids: ArrayLike | None,
    negative_prompt_attention_mask: ArrayLike | None,
) -> Guidance | None:
    """Return the negative prompts of classifier-free guidance, if there is any.

    Without negative_prompt_ids each prompt's last token is its negative prompt, as in transformers.

    Raises:
        InputError: negative prompts do not fit the prompts, the context or the other arguments.
    """
    scale = config.guidance_scale
    if negative_prompt_ids is not None and scale is None:
        raise InputError("negative_prompt_ids need a weight; pass guidance_scale too, say 1.5")
    if negative_prompt_attention_mask is not None and negative_prompt_ids is None:
        raise InputError("negative_prompt_attention_mask masks nothing; pass negative_prompt_ids")
    if scale is None or scale == 1:
        return None
    if negative_prompt_ids is None:
        return Guidance(scale, [prompt.ids[-1:] for prompt in prompts])
    batch = PaddedInputs.check(
        negative_prompt_ids,
        negative_prompt_attention_mask,
        model,
        padding="left",
        names=("negative_prompt_ids", "negative_prompt_attention_mask"),
    )
    check_holes(batch, model, new_tokens, "negative_prompt_attention_mask")
    negative = [prompt.ids for prompt in prompts_of(batch)]
    if len(negative) not in (1, len(prompts)):
        raise InputError(
            f"negative_prompt_ids has {len(negative)} rows, input_ids {len(prompts)}; "
            "one for each prompt is expected, or one for all"
        )
    if batch.longest + new_tokens > model.max_position_embeddings + 1:
        raise InputError(
            f"a negative prompt has {batch.longest} tokens and {new_tokens} are to follow, more "
            f"than the context of {model.max_position_embeddings}; shorten it"
        )
    return Guidance(scale, negative * (len(prompts) // len(negative)))
