"""Logits processors that penalize repetition, and biases for given sequences.

Each is transformers' class of that name, with its arguments. It takes `input_ids` int64
[batch, length] and `scores` float32 [batch, vocab] and returns float32 [batch, vocab]: the scores
themselves, uncopied, where nothing changes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.base import NEG_INF
from gptneo_onnx.runtime.generation.processors.checks import (
    check_number,
    check_tokens,
    check_whole_number,
    known_tokens,
)

SequenceBias = Mapping[tuple[int, ...], float] | Sequence[Sequence[Any]]


@dataclass(frozen=True)
class RepetitionPenaltyLogitsProcessor:
    """Makes tokens that occurred less likely, with `penalty` above 1 (CTRL, arXiv:1909.05858).

    The first `prompt_ignore_length` tokens do not count as occurrences.
    """

    penalty: float
    prompt_ignore_length: int | None = None

    def __post_init__(self) -> None:
        check_number("repetition_penalty", self.penalty, above=0, most=np.inf)
        if self.prompt_ignore_length is not None:
            check_whole_number("prompt_ignore_length", self.prompt_ignore_length, least=0)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return _penalize(scores, input_ids[:, self.prompt_ignore_length :], self.penalty)


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
        check_number("encoder_repetition_penalty", self.penalty, above=0, most=np.inf)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        prompts = _prompt_of_each_row(self.encoder_input_ids, len(scores))
        return _penalize(scores, prompts, 1 / self.penalty)


@dataclass(frozen=True)
class NoRepeatNGramLogitsProcessor:
    """Rules out tokens that would repeat a run of `ngram_size` tokens."""

    ngram_size: int

    def __post_init__(self) -> None:
        check_whole_number("no_repeat_ngram_size", self.ngram_size, least=1)

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
        check_whole_number("encoder_no_repeat_ngram_size", self.encoder_ngram_size, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        prompts = _prompt_of_each_row(self.encoder_input_ids, len(scores))
        banned = [
            _continuations(prompt, row, self.encoder_ngram_size)
            for prompt, row in zip(prompts, input_ids, strict=True)
        ]
        return _without_banned(scores, banned)


class SequenceBiasLogitsProcessor:
    """Adds a bias to the token that would complete a sequence; a single token always gets its own.

    As in transformers, a sequence counts only once the text is as long as the whole sequence.

    Args:
        sequence_bias: {(id, ...): bias}, or in JSON's form [[[id, ...], bias], ...].
    """

    _NAME = "sequence_bias"

    def __init__(self, sequence_bias: SequenceBias) -> None:
        self.sequence_bias = _checked_sequence_bias(sequence_bias)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        known_tokens(self._NAME, self._tokens, scores.shape[-1])
        processed = scores
        for row, tokens in enumerate(input_ids):
            biases = self._biases(tokens)
            if biases:
                processed = scores.copy() if processed is scores else processed
                values = np.fromiter(biases.values(), np.float32)
                processed[row, list(biases)] += values
        return processed

    def _biases(self, tokens: Ids) -> dict[int, np.float32]:
        """Return the tokens that complete a sequence after `tokens` [length], with their biases."""
        biases: defaultdict[int, np.float32] = defaultdict(np.float32)
        for size, completions in self._completions.items():
            if size and size >= len(tokens):
                continue
            prefix = tuple(tokens[len(tokens) - size :].tolist())
            for token, bias in completions.get(prefix, ()):
                biases[token] += np.float32(bias)
        return biases

    @cached_property
    def _completions(self) -> dict[int, dict[tuple[int, ...], list[tuple[int, float]]]]:
        """The tokens that complete a sequence, with their biases, by the prefix and its length.

        Thus one look-up for each length finds which of a thousand sequences may be completed.
        """
        completions: dict[int, dict[tuple[int, ...], list[tuple[int, float]]]] = {}
        for (*prefix, last), bias in self.sequence_bias.items():
            by_prefix = completions.setdefault(len(prefix), {})
            by_prefix.setdefault(tuple(prefix), []).append((last, bias))
        return completions

    @cached_property
    def _tokens(self) -> Ids:
        return np.array([token for sequence in self.sequence_bias for token in sequence])


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """Never completes one of `bad_words_ids`; an end token by itself does not count as one."""

    _NAME = "bad_words_ids"

    def __init__(
        self,
        bad_words_ids: Sequence[Sequence[int]],
        eos_token_id: int | Sequence[int] | None = None,
    ) -> None:
        if not isinstance(bad_words_ids, Sequence) or not bad_words_ids:
            raise InputError(
                f"bad_words_ids is {shown(bad_words_ids)}; a list of lists of token ids is allowed"
            )
        for sequence in bad_words_ids:
            _check_sequence(self._NAME, sequence)
        end_tokens = () if eos_token_id is None else np.atleast_1d(np.array(eos_token_id)).tolist()
        ends = {(end,) for end in end_tokens}
        banned = [tuple(sequence) for sequence in bad_words_ids if tuple(sequence) not in ends]
        self.sequence_bias = dict.fromkeys(banned, -np.inf)


@dataclass(frozen=True)
class HammingDiversityLogitsProcessor:
    """Penalizes tokens that earlier groups of beams chose in this step (arXiv:1610.02424)."""

    diversity_penalty: float
    num_beams: int
    num_beam_groups: int

    def __post_init__(self) -> None:
        check_number("diversity_penalty", self.diversity_penalty, above=0)
        check_whole_number("num_beams", self.num_beams, least=2)
        check_whole_number("num_beam_groups", self.num_beam_groups, least=2)
        if self.num_beam_groups > self.num_beams:
            raise InputError(
                f"num_beam_groups is {self.num_beam_groups}; at most num_beams, {self.num_beams}, "
                "is allowed"
            )

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
        factor = np.float32(penalty)
        penalized = np.where(seen < 0, seen * factor, seen / factor)
    np.put_along_axis(processed, tokens, penalized, -1)
    return processed


def _prompt_of_each_row(prompts: Ids, rows: int) -> Ids:
    """Repeat each prompt for its rows: [prompts, length] or [length] -> [rows, length]."""
    prompts = np.atleast_2d(prompts)
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


def _checked_sequence_bias(sequence_bias: SequenceBias) -> dict[tuple[int, ...], float]:
    """Return either form as a dict, or raise InputError."""
    is_collection = isinstance(sequence_bias, Mapping | Sequence)
    if not is_collection or isinstance(sequence_bias, str) or not sequence_bias:
        raise InputError(
            f"sequence_bias is {shown(sequence_bias)}; {{(id, ...): bias}} or "
            "[[[id, ...], bias], ...], not empty, is allowed"
        )
    biases = {}
    for pair in sequence_bias.items() if isinstance(sequence_bias, Mapping) else sequence_bias:
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise InputError(f"sequence_bias holds {shown(pair)}; [[id, ...], bias] is allowed")
        sequence, bias = pair
        _check_sequence("sequence_bias", sequence)
        if bias not in (np.inf, -np.inf):
            check_number(f"sequence_bias of {shown(sequence)}", bias)
        biases[tuple(sequence)] = float(bias)
    return biases


def _check_sequence(name: str, sequence: Any) -> None:
    if not isinstance(sequence, Sequence) or isinstance(sequence, str) or not sequence:
        raise InputError(
            f"{name} holds {shown(sequence)}; a list of at least one token id is allowed"
        )
    check_tokens(name, sequence)
