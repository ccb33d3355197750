"""Logits processors that penalize what was generated, by OpenAI's definitions.

https://platform.openai.com/docs/guides/text-generation: a token's score falls by the presence
penalty if it was generated, and by the frequency penalty for each time that it was. The prompt's
tokens do not count, as in vLLM. Each takes `input_ids` int64 [batch, length] and `scores` float32
[batch, vocab] and returns float32 [batch, vocab]: the scores themselves, uncopied, where nothing
changes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.checks import check_number
from gptneo_onnx.runtime.generation.processors.conversions import set_fields, whole
from gptneo_onnx.runtime.generation.tensors import takes_scores


@dataclass(frozen=True)
class PresencePenaltyLogitsProcessor:
    """Subtracts `penalty` from the scores of tokens that were generated; below 0 it adds.

    The first `prompt_length` columns of input_ids are the prompt.
    """

    penalty: float
    prompt_length: int

    def __post_init__(self) -> None:
        _check("presence_penalty", self)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return _penalize(input_ids, scores, self.prompt_length, self.penalty, np.ones_like)


@dataclass(frozen=True)
class FrequencyPenaltyLogitsProcessor:
    """Subtracts `penalty` from a token's score for each time that it was generated.

    The first `prompt_length` columns of input_ids are the prompt.
    """

    penalty: float
    prompt_length: int

    def __post_init__(self) -> None:
        _check("frequency_penalty", self)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return _penalize(input_ids, scores, self.prompt_length, self.penalty, lambda counts: counts)


def _check(
    name: str, processor: PresencePenaltyLogitsProcessor | FrequencyPenaltyLogitsProcessor
) -> None:
    check_number(name, processor.penalty)
    set_fields(processor, prompt_length=whole("prompt_length", processor.prompt_length, least=0))


def _penalize(
    input_ids: Ids,
    scores: Scores,
    prompt_length: int,
    penalty: float,
    weights: Callable[[Ids], Ids],
) -> Scores:
    """Subtract `penalty` times the weight that each generated token's count has."""
    generated = input_ids[:, prompt_length:]
    if penalty == 0 or not generated.size:
        return scores
    processed = scores.copy()
    for row, tokens in enumerate(generated):
        # A finished row may be filled up with an id that the model lacks.
        known = tokens[(tokens >= 0) & (tokens < scores.shape[-1])]
        seen, counts = np.unique(known, return_counts=True)
        processed[row, seen] -= scores.dtype.type(penalty) * weights(counts).astype(scores.dtype)
    return processed
