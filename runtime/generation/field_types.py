"""The fields of GenerationConfig for type checkers and editors: each name with its type.

GenerationConfig says what each of them means. None leaves or resets a default. A test compares the
names with those that generate() takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from gptneo_onnx.runtime.generation.generation_fields import Schedule
from gptneo_onnx.runtime.generation.processors.watermarking import (
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
)

Watermarking = WatermarkingConfig | SynthIDTextWatermarkingConfig | Mapping[str, Any]


class FieldArguments(TypedDict, total=False):
    """The fields of GenerationConfig, but for return_dict_in_generate."""

    max_length: int | None
    max_new_tokens: int | None
    min_length: int | None
    min_new_tokens: int | None
    max_time: float | None
    stop_strings: str | Sequence[str] | None
    do_sample: bool | None
    num_beams: int | None
    num_beam_groups: int | None
    diversity_penalty: float | None
    length_penalty: float | None
    early_stopping: bool | Literal["never"] | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    repetition_penalty: float | None
    encoder_repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    encoder_no_repeat_ngram_size: int | None
    bad_words_ids: Sequence[Sequence[int]] | None
    sequence_bias: Mapping[tuple[int, ...], float] | Sequence[Sequence[Any]] | None
    suppress_tokens: Sequence[int] | None
    begin_suppress_tokens: Sequence[int] | None
    forced_bos_token_id: int | None
    forced_eos_token_id: int | Sequence[int] | None
    exponential_decay_length_penalty: Sequence[float] | None
    renormalize_logits: bool | None
    remove_invalid_values: bool | None
    guidance_scale: float | None
    watermarking_config: Watermarking | None
    token_healing: bool | None
    prefill_chunk_size: int | None
    num_assistant_tokens: int | None
    num_assistant_tokens_schedule: Schedule | None
    assistant_confidence_threshold: float | None
    prompt_lookup_num_tokens: int | None
    max_matching_ngram_size: int | None
    eos_token_id: int | Sequence[int] | None
    bos_token_id: int | None
    pad_token_id: int | None
    num_return_sequences: int | None
    output_scores: bool | None
    output_logits: bool | None
    seed: int | Sequence[int] | None
    # Without effect here.
    use_cache: bool | None
    cache_implementation: str | None
    cache_config: Any
    return_legacy_cache: bool | None
    output_attentions: bool | None
    output_hidden_states: bool | None
    decoder_start_token_id: int | None
    is_assistant: bool | None
    assistant_early_exit: int | None
    assistant_lookbehind: int | None
    target_lookbehind: int | None
    compile_config: Any
    disable_compile: bool | None
    low_memory: bool | None
    penalty_alpha: float | None
    dola_layers: Any
    constraints: Any
    force_words_ids: Any
    transformers_version: str | None


class ResultKind(TypedDict, total=False):
    """The field that decides what generate() returns."""

    return_dict_in_generate: bool | None


class GenerationArguments(FieldArguments, ResultKind, total=False):
    """Every field of GenerationConfig."""
