"""The logits processors that a GenerationConfig asks for, in transformers' order."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor, LogitsProcessorList
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
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)
from gptneo_onnx.runtime.generation.processors.sequence_bias import (
    NoBadWordsLogitsProcessor,
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
from gptneo_onnx.runtime.generation.processors.watermarking import SynthIDTextWatermarkingConfig

PrefixAllowedTokens = Callable[[int, Ids], list[int]]


@dataclass(frozen=True)
class Prompt:
    """One prompt of a call.

    Attributes:
        ids: int64 [length], without padding and holes.
        row: its number in the call.
        padding: columns of its row that hold no token, as far as min_length counts them.
        max_new_tokens: its own limit; None where it is the call's.
    """

    ids: Ids
    row: int = 0
    padding: int = 0
    max_new_tokens: int | None = None


class ChainFactory:
    """Makes the chains of a call's sequences: the processors before and after the caller's own.

    Most processors keep no state, so sequences can share them. A processor that depends only on the
    config is made once for the call, one that depends on the prompt once for each prompt. SynthID's
    remembers the contexts of a sequence: every chain gets its own.
    """

    def __init__(
        self,
        config: GenerationConfig,
        max_new_tokens: int,
        vocab_size: int,
        prefix_allowed_tokens_fn: PrefixAllowedTokens | None = None,
    ) -> None:
        self._config = config
        self._max_new_tokens = max_new_tokens
        self._vocab_size = vocab_size
        self._prefix_allowed_tokens_fn = prefix_allowed_tokens_fn
        self._shared = _SharedProcessors()
        self._by_prompt: dict[tuple[int, int, bytes], LogitsProcessorList] = {}

    def processors(self, prompt: Prompt) -> LogitsProcessorList:
        """Return a new list of a prompt's processors before the caller's own.

        They never see its padding, so its rows come out as if the prompt were alone in the batch.
        """
        key = (prompt.row, prompt.padding, prompt.ids.tobytes())
        if key not in self._by_prompt:
            own = prompt.max_new_tokens
            self._by_prompt[key] = _processors(
                self._config,
                prompt,
                self._max_new_tokens if own is None else own,
                self._prefix_allowed_tokens_fn,
                self._shared,
            )
        return LogitsProcessorList(self._by_prompt[key])

    def warpers(self) -> LogitsProcessorList:
        """Return a new list of the processors after the caller's own."""
        return _warpers(self._config, self._vocab_size, self._shared)


class _SharedProcessors:
    """The processors of a call that keep no state and depend only on its config."""

    def __init__(self) -> None:
        self._made: dict[object, LogitsProcessor] = {}

    def get(self, make: Callable[..., LogitsProcessor], *arguments: object) -> LogitsProcessor:
        """Return what `make`, a class or a method, made of these arguments the first time."""
        if make not in self._made:
            self._made[make] = make(*arguments)
        return self._made[make]


def _processors(
    config: GenerationConfig,
    prompt: Prompt,
    max_new_tokens: int,
    prefix_allowed_tokens_fn: PrefixAllowedTokens | None,
    shared: _SharedProcessors,
) -> LogitsProcessorList:
    length = len(prompt.ids)
    eos = config.eos_token_ids
    chain = _word_processors(config, prompt, shared)
    if eos and (least := _least_length(config, prompt)) > 0:
        chain.append(MinLengthLogitsProcessor(least, eos))
    if prefix_allowed_tokens_fn is not None:
        chain.append(
            PrefixConstrainedLogitsProcessor(
                prefix_allowed_tokens_fn, config.num_beams, first_batch_id=prompt.row
            )
        )
    if config.forced_bos_token_id is not None:
        chain.append(shared.get(ForcedBOSTokenLogitsProcessor, config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        chain.append(
            ForcedEOSTokenLogitsProcessor(length + max_new_tokens, config.forced_eos_token_id)
        )
    if config.remove_invalid_values:
        chain.append(shared.get(InfNanRemoveLogitsProcessor))
    if config.exponential_decay_length_penalty is not None:
        chain.append(
            ExponentialDecayLengthPenalty(config.exponential_decay_length_penalty, eos, length)
        )
    if config.suppress_tokens is not None:
        chain.append(shared.get(SuppressTokensLogitsProcessor, config.suppress_tokens))
    if config.begin_suppress_tokens is not None:
        begin = length + (length == 1 and config.forced_bos_token_id is not None)
        chain.append(SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, begin))
    return LogitsProcessorList(chain)


def _word_processors(
    config: GenerationConfig, prompt: Prompt, shared: _SharedProcessors
) -> list[LogitsProcessor]:
    """Make the processors that depend on which tokens occurred."""
    chain: list[LogitsProcessor] = []
    encoder_ids = prompt.ids[None]  # [1, length]
    if config.sequence_bias is not None:
        chain.append(shared.get(SequenceBiasLogitsProcessor, config.sequence_bias))
    if config.encoder_repetition_penalty != 1.0:
        chain.append(
            EncoderRepetitionPenaltyLogitsProcessor(config.encoder_repetition_penalty, encoder_ids)
        )
    if config.repetition_penalty != 1.0:
        chain.append(shared.get(RepetitionPenaltyLogitsProcessor, config.repetition_penalty))
    if config.no_repeat_ngram_size:
        chain.append(shared.get(NoRepeatNGramLogitsProcessor, config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size:
        chain.append(
            EncoderNoRepeatNGramLogitsProcessor(config.encoder_no_repeat_ngram_size, encoder_ids)
        )
    if config.bad_words_ids is not None:
        ends = config.eos_token_ids or None
        chain.append(shared.get(NoBadWordsLogitsProcessor, config.bad_words_ids, ends))
    return chain


def _least_length(config: GenerationConfig, prompt: Prompt) -> int:
    """Return the minimum length in tokens without padding, whereas min_length counts padding."""
    if config.min_new_tokens is not None:
        return len(prompt.ids) + config.min_new_tokens if config.min_new_tokens else 0
    return config.min_length - prompt.padding


def _warpers(
    config: GenerationConfig, vocab_size: int, shared: _SharedProcessors
) -> LogitsProcessorList:
    chain = _sampling_warpers(config, shared) if config.do_sample else []
    watermark = config.watermarking_config
    if isinstance(watermark, SynthIDTextWatermarkingConfig):
        chain.append(watermark.construct_processor(vocab_size))  # keeps state: never shared
    elif watermark is not None:
        chain.append(shared.get(watermark.construct_processor, vocab_size))
    if config.renormalize_logits:
        chain.append(shared.get(LogitNormalization))
    return LogitsProcessorList(chain)


def _sampling_warpers(config: GenerationConfig, shared: _SharedProcessors) -> list[LogitsProcessor]:
    # Beams need one token that ends nothing, besides every end token.
    keep = 1 if config.num_beams == 1 else (len(config.eos_token_ids) or 1) + 1
    chain: list[LogitsProcessor] = []
    if config.temperature != 1.0:
        chain.append(shared.get(TemperatureLogitsWarper, config.temperature))
    if config.top_k:
        chain.append(shared.get(TopKLogitsWarper, config.top_k, -np.inf, keep))
    if config.top_p < 1.0:
        chain.append(shared.get(TopPLogitsWarper, config.top_p, -np.inf, keep))
    if config.min_p is not None:
        chain.append(shared.get(MinPLogitsWarper, config.min_p, -np.inf, keep))
    if config.typical_p < 1.0:
        chain.append(shared.get(TypicalLogitsWarper, config.typical_p, -np.inf, keep))
    if 0.0 < config.epsilon_cutoff < 1.0:
        chain.append(shared.get(EpsilonLogitsWarper, config.epsilon_cutoff, -np.inf, keep))
    if 0.0 < config.eta_cutoff < 1.0:
        chain.append(shared.get(EtaLogitsWarper, config.eta_cutoff, -np.inf, keep))
    return chain
