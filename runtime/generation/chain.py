"""The logits processors that a GenerationConfig asks for, in transformers' order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gptneo_onnx.runtime.generation.processors.base import Ids, LogitsProcessor, LogitsProcessorList
from gptneo_onnx.runtime.generation.processors.constraints import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    InfNanRemoveLogitsProcessor,
    MinLengthLogitsProcessor,
    PrefixConstrainedLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)
from gptneo_onnx.runtime.generation.processors.penalties import (
    EncoderNoRepeatNGramLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)
from gptneo_onnx.runtime.generation.processors.warpers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitNormalization,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

if TYPE_CHECKING:
    from gptneo_onnx.runtime.generation.config import GenerationConfig

PrefixAllowedTokens = Callable[[int, Ids], list[int]]


@dataclass(frozen=True)
class Prompt:
    """One prompt of a call.

    Attributes:
        ids: int64 [length], without padding.
        row: its number in the call.
        padding: columns of padding to its left; lengths that callers give count them.
    """

    ids: Ids
    row: int = 0
    padding: int = 0


def logits_processors(
    config: "GenerationConfig",
    prompt: Prompt,
    max_new_tokens: int,
    prefix_allowed_tokens_fn: PrefixAllowedTokens | None = None,
) -> LogitsProcessorList:
    """Those that come before the caller's own; made for one prompt, whose padding they never see.

    A prompt's rows are thus as if it had come alone.
    """
    length = len(prompt.ids)
    eos = config.eos_token_ids
    chain = _word_processors(config, prompt)
    if eos and (least := _least_length(config, prompt)) > 0:
        chain.append(MinLengthLogitsProcessor(least, eos))
    if prefix_allowed_tokens_fn is not None:
        chain.append(
            PrefixConstrainedLogitsProcessor(
                prefix_allowed_tokens_fn, config.num_beams, first_batch_id=prompt.row
            )
        )
    if config.forced_bos_token_id is not None:
        chain.append(ForcedBOSTokenLogitsProcessor(config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        chain.append(
            ForcedEOSTokenLogitsProcessor(length + max_new_tokens, config.forced_eos_token_id)
        )
    if config.remove_invalid_values:
        chain.append(InfNanRemoveLogitsProcessor())
    if config.exponential_decay_length_penalty is not None:
        chain.append(
            ExponentialDecayLengthPenalty(config.exponential_decay_length_penalty, eos, length)
        )
    if config.suppress_tokens is not None:
        chain.append(SuppressTokensLogitsProcessor(config.suppress_tokens))
    if config.begin_suppress_tokens is not None:
        begin = length + (length == 1 and config.forced_bos_token_id is not None)
        chain.append(SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, begin))
    return LogitsProcessorList(chain)


def logits_warpers(config: "GenerationConfig", vocab_size: int) -> LogitsProcessorList:
    """Those that come behind the caller's own: the cuts of sampling, watermarks, normalization."""
    chain = _sampling_warpers(config) if config.do_sample else []
    if config.watermarking_config is not None:
        chain.append(config.watermarking_config.construct_processor(vocab_size))
    if config.renormalize_logits:
        chain.append(LogitNormalization())
    return LogitsProcessorList(chain)


def _word_processors(config: "GenerationConfig", prompt: Prompt) -> list[LogitsProcessor]:
    """Those that look at which tokens occurred."""
    chain: list[LogitsProcessor] = []
    encoder_ids = prompt.ids[None]  # [1, length]
    if config.sequence_bias is not None:
        chain.append(SequenceBiasLogitsProcessor(config.sequence_bias))
    if config.encoder_repetition_penalty != 1.0:
        chain.append(
            EncoderRepetitionPenaltyLogitsProcessor(config.encoder_repetition_penalty, encoder_ids)
        )
    if config.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        chain.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size:
        chain.append(
            EncoderNoRepeatNGramLogitsProcessor(config.encoder_no_repeat_ngram_size, encoder_ids)
        )
    if config.bad_words_ids is not None:
        chain.append(NoBadWordsLogitsProcessor(config.bad_words_ids, config.eos_token_ids or None))
    return chain


def _least_length(config: "GenerationConfig", prompt: Prompt) -> int:
    """In the sequence's own tokens; min_length counts columns, padding included."""
    if config.min_new_tokens is not None:
        return len(prompt.ids) + config.min_new_tokens if config.min_new_tokens else 0
    return config.min_length - prompt.padding


def _sampling_warpers(config: "GenerationConfig") -> list[LogitsProcessor]:
    # Beams need a token that ends nothing, besides every end token.
    keep = 1 if config.num_beams == 1 else (len(config.eos_token_ids) or 1) + 1
    chain: list[LogitsProcessor] = []
    if config.temperature != 1.0:
        chain.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k:
        chain.append(TopKLogitsWarper(config.top_k, -np.inf, keep))
    if config.top_p < 1.0:
        chain.append(TopPLogitsWarper(config.top_p, -np.inf, keep))
    if config.min_p is not None:
        chain.append(MinPLogitsWarper(config.min_p, -np.inf, keep))
    if config.typical_p < 1.0:
        chain.append(TypicalLogitsWarper(config.typical_p, -np.inf, keep))
    if 0.0 < config.epsilon_cutoff < 1.0:
        chain.append(EpsilonLogitsWarper(config.epsilon_cutoff, -np.inf, keep))
    if 0.0 < config.eta_cutoff < 1.0:
        chain.append(EtaLogitsWarper(config.eta_cutoff, -np.inf, keep))
    return chain
