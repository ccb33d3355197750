"""Logits processors that penalize repetition.

Each is transformers' class of that name, with its arguments. It takes `input_ids` int64
[batch, length] and `scores` float32 [batch, vocab] and returns float32 [batch, vocab]: the scores
themselves, uncopied, where nothing changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.base import NEG_INF
from gptneo_onnx.runtime.generation.processors.conversions import (
    positive,
    prompt_ids,
    set_fields,
    whole,
)
from gptneo_onnx.runtime.generation.tensors import takes_scores


@dataclass(frozen=True)
class RepetitionPenaltyLogitsProcessor:
    """Makes tokens that occurred less likely, with `penalty` above 1 (CTRL, arXiv:1909.05858).

    The first `prompt_ignore_length` tokens do not count as occurrences.
    """

    penalty: float
    prompt_ignore_length: int | None = None

    def __post_init__(self) -> None:
        set_fields(self, penalty=positive("repetition_penalty", self.penalty))
        if self.prompt_ignore_length is not None:
            set_fields(
                self,
                prompt_ignore_length=whole(
                    "prompt_ignore_length", self.prompt_ignore_length, least=0
                ),
            )

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        ignored = 0 if self.prompt_ignore_length is None else int(self.prompt_ignore_length)
        # One id for each row may come without its second dimension.
        tokens = input_ids[:, ignored:] if input_ids.ndim == 2 else input_ids[:, None]
        if scores.ndim == 3:  # of every position: the last one counts
            processed = scores.copy()
            processed[:, -1] = _penalize(scores[:, -1], tokens, self.penalty)
            return processed
        return _penalize(scores, tokens, self.penalty)


@dataclass(frozen=True, eq=False)
class EncoderRepetitionPenaltyLogitsProcessor:
    """Makes the prompt's tokens more likely, with `penalty` above 1.

    Args:
        encoder_input_ids: int64 [prompts, length], or [length]; each prompt has the same number of
            rows of scores. (transformers' class treats only as many rows as there are prompts.)
    """

    penalty: float
    encoder_input_ids: Ids

    def __post_init__(self) -> None:
        set_fields(self, penalty=positive("encoder_repetition_penalty", self.penalty))
        ids = prompt_ids("encoder_input_ids", self.encoder_input_ids)
        set_fields(self, encoder_input_ids=ids)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        prompts = _prompt_of_each_row(self.encoder_input_ids, len(scores))
        return _penalize(scores, prompts, 1 / self.penalty)


@dataclass(frozen=True)
class NoRepeatNGramLogitsProcessor:
    """Rules out tokens that would repeat a run of `ngram_size` tokens."""

    ngram_size: int

    def __post_init__(self) -> None:
        set_fields(self, ngram_size=whole("no_repeat_ngram_size", self.ngram_size, least=1))

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        banned = [_continuations(row, row, self.ngram_size) for row in input_ids]
        return _without_banned(scores, banned)


@dataclass(frozen=True, eq=False)
class EncoderNoRepeatNGramLogitsProcessor:
    """Rules out tokens that would repeat a run of `encoder_ngram_size` tokens of the prompt.

    Args:
        encoder_input_ids: int64 [prompts, length], or [length]; each prompt has the same number of
            rows of scores.
    """

    encoder_ngram_size: int
    encoder_input_ids: Ids

    def __post_init__(self) -> None:
        set_fields(
            self,
            encoder_ngram_size=whole(
                "encoder_no_repeat_ngram_size", self.encoder_ngram_size, least=1
            ),
        )
        ids = prompt_ids("encoder_input_ids", self.encoder_input_ids)
        set_fields(self, encoder_input_ids=ids)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        prompts = _prompt_of_each_row(self.encoder_input_ids, len(scores))
        banned = [
            _continuations(prompt, row, self.encoder_ngram_size)
            for prompt, row in zip(prompts, input_ids, strict=True)
        ]
        return _without_banned(scores, banned)


@dataclass(frozen=True)
class HammingDiversityLogitsProcessor:
    """Penalizes tokens that earlier groups of beams chose in this step (arXiv:1610.02424)."""

    diversity_penalty: float
    num_beams: int
    num_beam_groups: int

    def __post_init__(self) -> None:
        set_fields(self, diversity_penalty=positive("diversity_penalty", self.diversity_penalty))
        set_fields(self, num_beams=whole("num_beams", self.num_beams, least=2))
        set_fields(self, num_beam_groups=whole("num_beam_groups", self.num_beam_groups, least=2))
        if self.num_beam_groups > self.num_beams:
            raise InputError(
                f"num_beam_groups is {self.num_beam_groups}; at most num_beams, {self.num_beams}, "
                "is allowed"
            )

    @takes_scores
    def __call__(
        self, input_ids: Ids, scores: Scores, current_tokens: Ids, beam_group_idx: int
    ) -> Scores:
        """Return the scores of one group of every prompt's beams, penalized.

        Args:
            input_ids: int64 [prompts * beams of the group, length].
            scores: float32 [prompts * beams of the group, vocab].
            current_tokens: int64 [prompts * num_beams], the tokens that earlier groups chose.
            beam_group_idx: the group that the scores belong to.
        """
        group_size = self.num_beams // self.num_beam_groups
        earlier_beams = beam_group_idx * group_size
        if len(current_tokens) % self.num_beams:
            raise InputError(
                f"current_tokens has {len(current_tokens)} tokens; a multiple of num_beams, "
                f"{self.num_beams}, is allowed"
            )
        if earlier_beams == 0:
            return scores
        processed = scores.copy()
        for prompt, chosen in enumerate(current_tokens.reshape(-1, self.num_beams)):
            tokens, counts = np.unique(chosen[:earlier_beams], return_counts=True)
            rows = slice(prompt * group_size, (prompt + 1) * group_size)
            penalties = np.float32(self.diversity_penalty) * counts.astype(np.float32)
            processed[rows, tokens] -= penalties
        return processed


def _penalize(scores: Scores, tokens: Ids, penalty: float) -> Scores:
    """Divide positive scores of each row's `tokens` by `penalty`, and multiply negative ones."""
    if penalty == 1 or not tokens.size:
        return scores
    vocab_size = scores.shape[1]
    if tokens.max() >= vocab_size:  # finished rows may be filled with an id that the model lacks
        known = [row[row < vocab_size] for row in tokens]
        rows = zip(scores, known, strict=True)
        return np.concatenate(
            [_penalize(row_scores[None], row[None], penalty) for row_scores, row in rows]
        )
    seen = np.take_along_axis(scores, tokens, -1)  # [batch, length]
    processed = scores.copy()
    with np.errstate(all="ignore"):
        factor = scores.dtype.type(penalty)
        penalized = np.where(seen < 0, seen * factor, seen / factor)
    np.put_along_axis(processed, tokens, penalized, -1)
    return processed


def _prompt_of_each_row(prompts: Ids, rows: int) -> Ids:
    """Repeat each prompt for its rows: [prompts, length] -> [rows, length]."""
    if rows % len(prompts):
        raise InputError(
            f"there are {rows} rows of scores and {len(prompts)} of encoder_input_ids; "
            "a multiple of these is allowed"
        )
    return np.repeat(prompts, rows // len(prompts), axis=0)


def _continuations(text: Ids, tokens: Ids, size: int) -> Ids:
    """Return the tokens that follow in `text` wherever the last `size` - 1 of `tokens` occur."""
    positions = len(text) - size + 1
    prefix = tokens[len(tokens) - size + 1 :]
    if positions <= 0 or len(tokens) < size - 1:
        return text[:0]
    matches = np.ones(positions, np.bool_)
    for offset, token in enumerate(prefix):
        matches &= text[offset : offset + positions] == token
    return text[size - 1 :][matches]


def _without_banned(scores: Scores, banned: Sequence[Ids]) -> Scores:
    """Rule out the `banned` tokens of each row [vocab]."""
    if not any(tokens.size for tokens in banned):
        return scores
    processed = scores.copy()
    for row, tokens in enumerate(banned):
        processed[row, tokens[tokens < scores.shape[1]]] = NEG_INF
    return processed
