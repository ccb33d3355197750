"""Logits processors that make given sequences likelier or less likely, or rule them out.

Each is transformers' class of that name, with its arguments. It takes `input_ids` int64
[batch, length] and `scores` float32 [batch, vocab] and returns float32 [batch, vocab]: the scores
themselves, uncopied, where nothing changes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.checks import known_tokens
from gptneo_onnx.runtime.generation.processors.conversions import number, token_ids, whole
from gptneo_onnx.runtime.generation.tensors import takes_scores

SequenceBias = Mapping[tuple[int, ...], float] | Sequence[Sequence[Any]]


class SequenceBiasLogitsProcessor:
    """Adds a bias to the token that would complete a sequence; a single token always gets its own.

    As in transformers, a sequence counts only once the text is as long as the whole sequence.

    Args:
        sequence_bias: {(id, ...): bias}, or in JSON's form [[[id, ...], bias], ...].
    """

    _NAME = "sequence_bias"

    def __init__(self, sequence_bias: SequenceBias) -> None:
        self.sequence_bias = _checked_sequence_bias(sequence_bias)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        known_tokens(self._NAME, self._tokens, scores.shape[-1])
        processed = scores
        for row, tokens in enumerate(input_ids):
            biases = self._biases(tokens)
            if biases:
                processed = scores.copy() if processed is scores else processed
                values = np.fromiter(biases.values(), np.float32)
                with np.errstate(invalid="ignore"):  # -inf + inf is NaN, as there
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
        has_ends = eos_token_id is not None
        ends = {(end,) for end in token_ids("eos_token_id", eos_token_id)} if has_ends else set()
        banned = [_checked_ids(self._NAME, sequence) for sequence in bad_words_ids]
        self.sequence_bias = dict.fromkeys((ids for ids in banned if ids not in ends), -np.inf)


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
        ids = _checked_ids("sequence_bias", sequence)
        biases[ids] = float(number(f"sequence_bias of {shown(sequence)}", bias))
    return biases


def _checked_ids(name: str, sequence: Any) -> tuple[int, ...]:
    if not isinstance(sequence, Sequence) or isinstance(sequence, str) or not sequence:
        raise InputError(
            f"{name} holds {shown(sequence)}; a list of at least one token id is allowed"
        )
    return tuple(whole(name, token, least=0) for token in sequence)
