"""Logits processors: each changes the scores of the next token.

Functions over one sequence, `ids` [length] int64 and `scores` [vocab] float32, that return scores
and leave their input alone. One sequence at a time, so that no result depends on a batch. Names and
arithmetic are those of transformers.generation.logits_process.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.generation.generation_config import GenerationConfig

Scores = NDArray[np.float32]
Ids = NDArray[np.int64]
FloatType = TypeVar("FloatType", np.float32, np.float64)
LogitsProcessor = Callable[[Ids, Scores], Scores]


def repetition_penalty(ids: Ids, scores: Scores, penalty: float) -> Scores:
    """RepetitionPenaltyLogitsProcessor (Keskar et al. 2019, arXiv:1909.05858)."""
    seen = scores[ids]
    processed = scores.copy()
    processed[ids] = np.where(seen < 0, seen * np.float32(penalty), seen / np.float32(penalty))
    return processed


def min_length(ids: Ids, scores: Scores, length: int, eos_token_ids: tuple[int, ...]) -> Scores:
    """MinLengthLogitsProcessor: no end token before `ids` has `length` tokens."""
    if len(ids) >= length:
        return scores
    processed = scores.copy()
    # Configs of models that were cut down name end tokens beyond their vocabulary.
    processed[[token for token in eos_token_ids if token < len(scores)]] = -np.inf
    return processed


def temperature(ids: Ids, scores: Scores, value: float) -> Scores:
    """TemperatureLogitsWarper."""
    return scores / np.float32(value)


def top_k(ids: Ids, scores: Scores, k: int) -> Scores:
    """TopKLogitsWarper: keep the k best, and those equal to the last of them."""
    if k >= len(scores):
        return scores
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.where(scores < least, np.float32(-np.inf), scores)


def top_p(ids: Ids, scores: Scores, p: float) -> Scores:
    """TopPLogitsWarper (Holtzman et al. 2019, arXiv:1904.09751): drop the tail of 1 - p."""
    candidates = np.flatnonzero(scores > -np.inf)
    ascending = candidates[np.argsort(scores[candidates], kind="stable")]
    tail = np.cumsum(probabilities(scores[ascending])) <= 1 - p
    tail[-1] = False  # the best token always stays
    processed = scores.copy()
    processed[ascending[tail]] = -np.inf
    return processed


def probabilities(scores: NDArray[FloatType]) -> NDArray[FloatType]:
    """Softmax over the last axis."""
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def logits_processors(config: GenerationConfig, min_result_length: int) -> list[LogitsProcessor]:
    """The processors that a config asks for, in transformers' order.

    `min_result_length` is min_length, or min_new_tokens and the prompt together.
    """
    processors: list[LogitsProcessor] = []
    if config.repetition_penalty != 1.0:
        processors.append(partial(repetition_penalty, penalty=config.repetition_penalty))
    if min_result_length > 0 and config.eos_token_ids:
        processors.append(
            partial(min_length, length=min_result_length, eos_token_ids=config.eos_token_ids)
        )
    if config.do_sample:
        processors += _warpers(config)
    return processors


def _warpers(config: GenerationConfig) -> list[LogitsProcessor]:
    warpers: list[LogitsProcessor] = []
    if config.temperature != 1.0:
        warpers.append(partial(temperature, value=config.temperature))
    if config.top_k:
        warpers.append(partial(top_k, k=config.top_k))
    if config.top_p < 1.0:
        warpers.append(partial(top_p, p=config.top_p))
    return warpers
