"""The fields of GenerationConfig: their defaults, what generate() takes, and their meaning."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from gptneo_onnx.models.generation_settings import DEFAULT_LENGTH, TRANSFORMERS_VERSION
from gptneo_onnx.runtime.generation.config_fields import (
    MAX_RETURN_SEQUENCES,
    MAX_TOKEN,
    Integer,
    OneOrSeveral,
    declare,
    flag,
    integer,
    length,
    number,
    read_decay,
    read_early_stopping,
    read_matching,
    read_stop_string,
    token,
    tokens,
    unread,
    unused,
)
from gptneo_onnx.runtime.generation.processors.base import GREATEST, LOWEST
from gptneo_onnx.runtime.generation.processors.watermarking import (
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
)

Schedule = Literal["constant", "heuristic", "heuristic_transient"]


@dataclass(init=False, repr=False, eq=False)
class GenerationFields:
    """The arguments of generate(), and those of transformers' that have no effect here."""

    max_length: int | None = length(
        DEFAULT_LENGTH,
        "longest result in tokens, prompt included; 20 that no call was given, and None, mean 20 "
        "new tokens",
    )
    max_new_tokens: int | None = length(
        None, "most tokens to generate; takes precedence over max_length"
    )
    min_length: int = integer(0, None, "shortest result in tokens, prompt included")
    min_new_tokens: int | None = integer(
        None, None, "fewest tokens to generate; takes precedence over min_length"
    )
    max_time: float | None = number(None, "seconds after which no further token is started")
    stop_strings: str | Sequence[str] | None = declare(
        None,
        OneOrSeveral(read_stop_string),
        "texts that end a sequence; generate() needs tokenizer=",
    )
    do_sample: bool = flag(False, "whether to draw tokens rather than take the likeliest")
    num_beams: int = integer(1, 1, "beams to search with; 1 for no search", MAX_RETURN_SEQUENCES)
    num_beam_groups: int = integer(
        1,
        None,
        "beam groups that are kept different (Vijayakumar et al. 2016); 1 for none",
        MAX_RETURN_SEQUENCES,
    )
    diversity_penalty: float = number(
        0.0, "penalty for tokens that other groups just chose; only with groups", 0, 1e6
    )
    length_penalty: float = number(
        1.0, "a finished beam's score is divided by its length to the power of this"
    )
    early_stopping: bool | Literal["never"] = declare(
        False,
        read_early_stopping,
        "when a beam search stops: True at num_beams finished beams, False when better ones are "
        "unlikely, 'never' when they are impossible",
    )
    temperature: float = number(
        1.0, "number that scores are divided by; 0 decodes greedily, whatever do_sample says"
    )
    top_k: int | None = integer(
        50, None, "draw from this many of the likeliest tokens; 0 or None for all"
    )
    top_p: float = number(1.0, "draw from the likeliest tokens of this total probability")
    min_p: float | None = number(
        None, "draw from tokens at least this likely, relative to the likeliest"
    )
    typical_p: float = number(1.0, "draw from typical tokens of this total probability")
    epsilon_cutoff: float = number(0.0, "draw from tokens at least this likely")
    eta_cutoff: float = number(
        0.0, "draw from tokens above a likelihood that falls as the entropy rises"
    )
    repetition_penalty: float = number(
        1.0, "divides positive scores of tokens that occurred, multiplies negative ones"
    )
    encoder_repetition_penalty: float = number(
        1.0, "multiplies positive scores of the prompt's tokens, divides negative ones"
    )
    no_repeat_ngram_size: int = integer(
        0, None, "length of the runs of tokens that may not occur twice; 0 for none"
    )
    encoder_no_repeat_ngram_size: int = integer(
        0, None, "length of the runs of the prompt's tokens that may not occur again; 0 for none"
    )
    bad_words_ids: Any = unread(None, "runs of tokens that may not occur")
    sequence_bias: Any = unread(None, "{(id, ...): number added to the score of the last id}")
    suppress_tokens: Sequence[int] | None = declare(
        None, read_matching, "tokens that are never generated"
    )
    begin_suppress_tokens: Sequence[int] | None = declare(
        None, read_matching, "tokens that may not come first"
    )
    forced_bos_token_id: int | None = integer(
        None, None, "token that must follow a prompt of one token; -1 is the vocabulary's last"
    )
    forced_eos_token_id: int | Sequence[int] | None = declare(
        None,
        OneOrSeveral(Integer(0, MAX_TOKEN)),
        "tokens of which one must be the last where a result reaches its greatest length",
    )
    exponential_decay_length_penalty: Sequence[float] | None = declare(
        None, read_decay, "(start, factor) of a growing bonus for end tokens"
    )
    renormalize_logits: bool = flag(
        False, "whether processed scores become log probabilities", is_strict=True
    )
    remove_invalid_values: bool = flag(
        False, "whether to replace NaN and infinities in scores", is_strict=True
    )
    guidance_scale: float | None = number(
        None,
        "weight of the prompt against the negative prompt (arXiv:2306.17806)",
        LOWEST,
        GREATEST,
    )
    watermarking_config: WatermarkingConfig | SynthIDTextWatermarkingConfig | None = unread(
        None, "a WatermarkingConfig, a SynthIDTextWatermarkingConfig, or the dict of one"
    )
    token_healing: bool = flag(
        False, "whether to choose a prompt's last token again; generate() needs tokenizer="
    )
    prefill_chunk_size: int | None = integer(
        None, 1, "tokens of a prompt per step; None takes the model's number"
    )
    num_assistant_tokens: int = integer(20, 1, "most tokens that a draft model proposes in a round")
    num_assistant_tokens_schedule: Schedule = unread(
        "constant",
        "without effect: what was accepted sets the number proposed",
    )
    assistant_confidence_threshold: float = number(
        0.4, "where it is set, a draft ends at a token less likely than this"
    )
    prompt_lookup_num_tokens: int | None = integer(
        None, 1, "most tokens to propose from the text itself; None for none"
    )
    max_matching_ngram_size: int | None = integer(
        None, 0, "longest run of tokens to look for in the text; 0 or None means 2"
    )
    eos_token_id: int | Sequence[int] | None = tokens(None, "tokens that end a sequence")
    bos_token_id: int | None = token(None, "not used by generate(); kept for the tokenizer")
    pad_token_id: int | None = token(
        None, "token that fills up finished sequences; None takes the first end token"
    )
    num_return_sequences: int = integer(1, 1, "results per prompt", MAX_RETURN_SEQUENCES)
    return_dict_in_generate: bool = flag(False, "whether to return a GenerateDecoderOnlyOutput")
    output_scores: bool = flag(False, "whether that output has the scores of each step")
    output_logits: bool | None = flag(None, "whether that output has the logits of each step")
    seed: int | Sequence[int] | None = declare(
        None,
        OneOrSeveral(Integer(0)),
        "number that sets the draws of the whole call, or a list with one for each result; None "
        "takes the next of set_seed()'s numbers, or a random one",
    )
    use_cache: bool = unused(True)
    cache_implementation: str | None = unused(None)
    cache_config: Any = unused(None)
    return_legacy_cache: bool | None = unused(None)
    output_attentions: bool = unused(False)
    output_hidden_states: bool = unused(False)
    decoder_start_token_id: int | None = unused(None)
    is_assistant: bool = unused(False)
    assistant_early_exit: int | None = unused(None)
    assistant_lookbehind: int = unused(10)
    target_lookbehind: int = unused(10)
    compile_config: Any = unused(None)
    disable_compile: bool = unused(False)
    low_memory: bool | None = unused(None)
    penalty_alpha: float | None = unused(None)
    dola_layers: Any = unused(None)
    constraints: Any = unused(None)
    force_words_ids: Any = unused(None)
    transformers_version: str = unused(TRANSFORMERS_VERSION)


FIELDS = fields(GenerationFields)
DEFAULT_VALUES: dict[str, Any] = {each.name: each.default for each in FIELDS}
KEPT = tuple(each.name for each in FIELDS if not each.metadata)

# Every instance sets all fields: help() need not list the class's, nor what dataclass adds.
for _name in (*DEFAULT_VALUES, "__dataclass_fields__", "__dataclass_params__", "__match_args__"):
    delattr(GenerationFields, _name)
