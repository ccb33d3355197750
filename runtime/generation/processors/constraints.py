"""Logits processors that say which tokens may come, and when.

Each is transformers' class of that name, with its arguments. It takes `input_ids` int64
[batch, length] and `scores` float32 [batch, vocab] and returns float32 [batch, vocab]: the scores
themselves, uncopied, where nothing changes.

End tokens and suppressed tokens beyond the vocabulary are ignored: configs of models that were cut
down still name them. Any other token beyond it is the caller's mistake, and raises InputError.
`device` is transformers', and makes no difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.base import GREATEST, LOWEST, NEG_INF
from gptneo_onnx.runtime.generation.processors.checks import (
    known_tokens,
    tokens_within,
)
from gptneo_onnx.runtime.generation.processors.conversions import (
    end_token_ids,
    number,
    set_fields,
    token_ids,
    whole,
)
from gptneo_onnx.runtime.generation.tensors import as_array, takes_scores

MAX_VOCABULARY = 2**31
AllowedTokens = Callable[[int, Ids], Sequence[int] | Ids]


@dataclass(frozen=True)
class MinLengthLogitsProcessor:
    """Rules out end tokens before prompt and continuation together have `min_length` tokens."""

    min_length: int
    eos_token_id: int | Sequence[int] | Ids
    device: object = "cpu"

    def __post_init__(self) -> None:
        set_fields(self, min_length=whole("min_length", self.min_length, least=0))
        token_ids("eos_token_id", self.eos_token_id)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if input_ids.shape[-1] >= self.min_length:
            return scores
        return _without(scores, tokens_within(self.eos_token_id, scores.shape[-1]))


@dataclass(frozen=True)
class MinNewTokensLengthLogitsProcessor:
    """Rules out end tokens before `min_new_tokens` tokens have followed the prompt."""

    prompt_length_to_skip: int
    min_new_tokens: int
    eos_token_id: int | Sequence[int] | Ids
    device: object = "cpu"

    def __post_init__(self) -> None:
        set_fields(
            self,
            prompt_length_to_skip=whole(
                "prompt_length_to_skip", self.prompt_length_to_skip, least=0
            ),
        )
        set_fields(self, min_new_tokens=whole("min_new_tokens", self.min_new_tokens, least=0))
        token_ids("eos_token_id", self.eos_token_id)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if input_ids.shape[-1] - self.prompt_length_to_skip >= self.min_new_tokens:
            return scores
        return _without(scores, tokens_within(self.eos_token_id, scores.shape[-1]))


@dataclass(frozen=True)
class ForcedBOSTokenLogitsProcessor:
    """Allows only `bos_token_id` after a prompt of one token; -1 is the vocabulary's last."""

    bos_token_id: int

    def __post_init__(self) -> None:
        token = whole("forced_bos_token_id", self.bos_token_id)
        set_fields(self, bos_token_id=token)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if input_ids.shape[-1] != 1:
            return scores
        vocab_size, token = scores.shape[-1], self.bos_token_id
        token += vocab_size if -vocab_size <= token < 0 else 0
        return _only(scores, known_tokens("forced_bos_token_id", [token], vocab_size))


@dataclass(frozen=True)
class ForcedEOSTokenLogitsProcessor:
    """Allows only end tokens as the last of `max_length` tokens."""

    max_length: int
    eos_token_id: int | Sequence[int] | Ids
    device: object = "cpu"

    def __post_init__(self) -> None:
        set_fields(self, max_length=number("max_length", self.max_length))
        end_token_ids("forced_eos_token_id", self.eos_token_id)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        ends = tokens_within(self.eos_token_id, scores.shape[-1])
        # If every end token is beyond the vocabulary, forcing one would leave no token at all.
        if input_ids.shape[-1] != self.max_length - 1 or not ends.size:
            return scores
        return _only(scores, ends)


@dataclass(frozen=True)
class SuppressTokensLogitsProcessor:
    """Rules out `suppress_tokens` everywhere."""

    suppress_tokens: Sequence[int] | Ids
    device: object = "cpu"

    def __post_init__(self) -> None:
        _ = self._suppressed

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return _without(scores, tokens_within(self._suppressed, scores.shape[-1]))

    @cached_property
    def _suppressed(self) -> Ids:
        return token_ids("suppress_tokens", self.suppress_tokens, is_list=True)


@dataclass(frozen=True)
class SuppressTokensAtBeginLogitsProcessor:
    """Rules out `begin_suppress_tokens` as the token at `begin_index`."""

    begin_suppress_tokens: Sequence[int] | Ids
    begin_index: int
    device: object = "cpu"

    def __post_init__(self) -> None:
        _ = self._suppressed
        set_fields(self, begin_index=number("begin_index", self.begin_index))

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if input_ids.shape[-1] != self.begin_index:
            return scores
        return _without(scores, tokens_within(self._suppressed, scores.shape[-1]))

    @cached_property
    def _suppressed(self) -> Ids:
        return token_ids("begin_suppress_tokens", self.begin_suppress_tokens, is_list=True)


@dataclass(frozen=True)
class ExponentialDecayLengthPenalty:
    """Raises the scores of end tokens more and more, from a number of tokens after the prompt.

    `exponential_decay_length_penalty` is (start, factor): n tokens after the start, an end token's
    score s becomes s + |s| * (factor ** n - 1). End tokens at -inf stay there; transformers' class
    makes them NaN.
    """

    exponential_decay_length_penalty: Sequence[float]
    eos_token_id: int | Sequence[int] | Ids
    input_ids_seq_length: int

    def __post_init__(self) -> None:
        name = "exponential_decay_length_penalty"
        decay = self.exponential_decay_length_penalty
        try:
            start, factor = decay[0], decay[1]
        except (TypeError, IndexError, KeyError) as error:
            raise InputError(f"{name} is {shown(decay)}; (start, factor) is allowed") from error
        pair = number(f"{name}'s start", start), number(f"{name}'s factor", factor)
        set_fields(self, **{name: pair})
        end_token_ids("eos_token_id", self.eos_token_id)
        length = number("input_ids_seq_length", self.input_ids_seq_length)
        set_fields(self, input_ids_seq_length=length)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        start, factor = self.exponential_decay_length_penalty
        passed = input_ids.shape[-1] - (start + self.input_ids_seq_length)
        ends = tokens_within(self.eos_token_id, scores.shape[-1])
        if passed <= 0 or not ends.size:
            return scores
        growth = scores.dtype.type(min(max(_power(factor, passed) - 1, LOWEST), GREATEST))
        processed = scores.copy()
        end_scores = scores[:, ends]
        with np.errstate(over="ignore", invalid="ignore"):
            raised = np.minimum(end_scores + np.abs(end_scores) * growth, GREATEST)
        processed[:, ends] = np.where(np.isneginf(end_scores), end_scores, raised)
        return processed


@dataclass(frozen=True)
class PrefixConstrainedLogitsProcessor:
    """Allows only what `prefix_allowed_tokens_fn(batch_id, tokens)` lists (arXiv:2010.00904).

    Each prompt has `num_beams` rows. A caller that passes one prompt at a time says which it is
    with `first_batch_id`.
    """

    prefix_allowed_tokens_fn: AllowedTokens
    num_beams: int = 1
    first_batch_id: int = 0

    def __post_init__(self) -> None:
        if not callable(self.prefix_allowed_tokens_fn):
            raise InputError(
                f"prefix_allowed_tokens_fn is {shown(self.prefix_allowed_tokens_fn)}; "
                "a function of batch id and tokens that lists the allowed ones is expected"
            )
        set_fields(self, num_beams=whole("num_beams", self.num_beams, least=1))
        set_fields(self, first_batch_id=whole("first_batch_id", self.first_batch_id, least=0))

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        processed = np.full_like(scores, NEG_INF)
        for row, tokens in enumerate(input_ids):
            listed = self._listed_tokens(self.first_batch_id + row // self.num_beams, tokens)
            allowed = known_tokens("prefix_allowed_tokens_fn's result", listed, scores.shape[-1])
            processed[row, allowed] = scores[row, allowed]
        return processed

    def _listed_tokens(self, batch_id: int, tokens: Ids) -> NDArray[Any]:
        # A copy, since the caller's function may change its argument.
        listed = np.asarray(as_array(self.prefix_allowed_tokens_fn(batch_id, tokens.copy())))
        if not listed.size:
            raise InputError(
                f"prefix_allowed_tokens_fn allows nothing for prompt {batch_id} after "
                f"{len(tokens)} tokens; it must list at least one token"
            )
        if listed.ndim != 1 or not np.issubdtype(listed.dtype, np.integer):
            raise InputError(
                f"prefix_allowed_tokens_fn returned {shown(listed.tolist())}; "
                "a list of token ids is allowed"
            )
        return listed


@dataclass(frozen=True)
class InfNanRemoveLogitsProcessor:
    """Replaces NaN by 0, and infinities by the greatest and the lowest float32."""

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return scores if np.isfinite(scores).all() else np.nan_to_num(scores)


def _without(scores: Scores, tokens: Ids) -> Scores:
    if not tokens.size:
        return scores
    processed = scores.copy()
    processed[:, tokens] = NEG_INF
    return processed


def _only(scores: Scores, tokens: Ids) -> Scores:
    processed = np.full_like(scores, NEG_INF)
    processed[:, tokens] = 0
    return processed


def _power(factor: float, exponent: float) -> float:
    try:
        power: complex = float(factor) ** float(exponent)
    except OverflowError:
        return np.inf
    if not isinstance(power, float):
        raise InputError(
            f"exponential_decay_length_penalty's factor is {shown(factor)}, and no whole number of "
            "tokens has passed; a number of at least 0 is allowed"
        )
    return power
