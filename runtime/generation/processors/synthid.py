"""SynthID's watermark: a tournament between tokens, refereed by hashes of what came before.

Dathathri et al., Nature 2024, doi:10.1038/s41586-024-08025-4. Names and results are those of
transformers.SynthIDTextWatermarkLogitsProcessor on a CPU, so its detectors find our watermarks.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.generation.processors.base import Ids, Scores, probabilities
from gptneo_onnx.runtime.generation.processors.torch_random import randint_bits
from gptneo_onnx.runtime.generation.processors.warpers import check_whole_number

_LOWEST = np.finfo(np.float32).min
_MULTIPLIER = np.int64(6364136223846793005)  # of the linear congruential generator in newlib
_INT64 = (-(2**63), 2**63 - 1)
_GREATEST_TABLE = 2**24


class SynthIDTextWatermarkLogitsProcessor:
    """Lets likelihood flow to tokens whose hash, keyed and with its context, is 1, once per key.

    It remembers the tokens and contexts of the calls before, so one object follows one batch. The
    prompt is no context: the first calls hash zeros in its place.

    Args:
        ngram_len: the tokens that are hashed together, the candidate included.
        keys: the secrets, one for each round.
        sampling_table_size: of the table that makes bits of hashes, at most 2 ** 24.
        sampling_table_seed: of that table.
        context_history_size: a context among the last so many that comes again has no watermark.
        skip_first_ngram_calls: no watermark before ngram_len tokens are there.
        debug_mode: all scores count as equal.
    """

    def __init__(
        self,
        ngram_len: int,
        keys: Sequence[int],
        sampling_table_size: int,
        sampling_table_seed: int,
        context_history_size: int,
        skip_first_ngram_calls: bool = False,
        debug_mode: bool = False,
    ) -> None:
        check_whole_number("ngram_len", ngram_len, least=1)
        check_whole_number("sampling_table_size", sampling_table_size, 1, _GREATEST_TABLE)
        check_whole_number("sampling_table_seed", sampling_table_seed, 0, 2**64 - 1)
        check_whole_number("context_history_size", context_history_size, least=0)
        self.ngram_len = ngram_len
        self.keys = _checked_keys(keys)
        self.sampling_table = _sampling_table(sampling_table_seed, sampling_table_size)
        self.context_history_size = context_history_size
        self.skip_first_ngram_calls = skip_first_ngram_calls
        self.debug_mode = debug_mode
        self._calls = 0
        self._context: Ids  # [batch, ngram_len - 1]
        self._history: Ids  # [batch, context_history_size], hashes, the newest first

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if self.debug_mode:
            scores = np.ones_like(scores)
        self._advance(input_ids)
        if self.skip_first_ngram_calls and self._calls < self.ngram_len:
            return scores
        context_hash = _hash(np.ones(len(scores), np.int64), self._context)  # [batch]
        repeated = (self._history == context_hash[:, None]).any(-1)
        history = np.column_stack([context_hash, self._history])
        self._history = history[:, : self.context_history_size]
        if repeated.all():
            return scores
        return np.stack(
            [
                row if again else self._marked(row, seen)
                for row, seen, again in zip(scores, context_hash[:, None], repeated, strict=True)
            ]
        )

    def _advance(self, input_ids: Ids) -> None:
        """Take the newest tokens of [batch, length] into the context."""
        batch = len(input_ids)
        if self._calls == 0:
            self._context = np.zeros((batch, self.ngram_len - 1), np.int64)
            self._history = np.zeros((batch, self.context_history_size), np.int64)
        elif batch != len(self._context):
            raise InputError(
                f"there are {batch} rows, and there were {len(self._context)} before; "
                "construct a processor for each batch"
            )
        else:
            self._context = np.column_stack([self._context, input_ids[:, -1:]])[:, 1:]
        self._calls += 1

    def _marked(self, row: Scores, context_hash: Ids) -> Scores:
        """One row [vocab] with the watermark, as log-likelihoods; its context's hash is [1]."""
        likelihoods = probabilities(row)
        # A token without likelihood gets none: after top_k there are few left to hash.
        tokens = np.flatnonzero(likelihoods)
        left = likelihoods[tokens]
        for bits in self._bits(_hash(context_hash, tokens[:, None])):
            left = left * (1 + bits - (bits * left).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithms = np.log(left)
        marked = np.full_like(row, _LOWEST)
        marked[tokens] = np.where(np.isfinite(logarithms), logarithms, _LOWEST)
        return marked

    def _bits(self, hashes: Ids) -> Iterator[NDArray[np.float32]]:
        """For each key, a 0 or 1 for each hash."""
        size = len(self.sampling_table)
        for key in self.keys:
            keyed = _hash(hashes, key[None])
            # The remainder of 1.5 million hashes takes 12 ms, the same bits of them 1 ms.
            places = keyed & (size - 1) if size & (size - 1) == 0 else keyed % size
            yield self.sampling_table[places]

    def compute_g_values(self, input_ids: Ids) -> Ids:
        """The bits of a text, for a detector: [batch, length] -> [batch, ngrams, keys]."""
        ngrams = _windows(input_ids, self.ngram_len)
        hashes = _hash(np.ones(ngrams.shape[:2], np.int64), ngrams)
        return np.stack(list(self._bits(hashes)), axis=-1).astype(np.int64)

    def compute_context_repetition_mask(self, input_ids: Ids) -> NDArray[np.bool_]:
        """Whether an n-gram's context is new, for a detector: [batch, ngrams]."""
        contexts = _windows(input_ids[:, :-1], self.ngram_len - 1)
        hashes = _hash(np.ones(contexts.shape[:2], np.int64), contexts)
        fresh = np.ones(hashes.shape, np.bool_)
        for place in range(hashes.shape[1]):
            recent = hashes[:, max(0, place - self.context_history_size) : place]
            fresh[:, place] = (recent != hashes[:, place, None]).all(-1)
        return fresh

    def compute_eos_token_mask(self, input_ids: Ids, eos_token_id: int) -> NDArray[np.bool_]:
        """Whether a token stands before the first end token: [batch, length], both."""
        return np.asarray(np.cumsum(input_ids == eos_token_id, axis=-1) == 0)

    def expected_mean_g_value(self, vocab_size: int, coinflip_prob: float = 0.5) -> float:
        """Of watermarked text under a uniform model, with one key."""
        return coinflip_prob + coinflip_prob * (1 - coinflip_prob) * (1 - 1 / vocab_size)


def _hash(current: Ids, data: Ids) -> Ids:
    """Hash `data` [..., n] onto `current` [...]; int64 wraps around, as it does there."""
    for column in range(data.shape[-1]):
        current = (current + data[..., column]) * _MULTIPLIER + 1
    return current


def _windows(input_ids: Ids, size: int) -> Ids:
    """[batch, length] -> [batch, length - size + 1, size]."""
    if input_ids.ndim != 2 or input_ids.shape[1] < size:
        raise InputError(
            f"input_ids is of shape {list(input_ids.shape)}; [batch, length] with a length of at "
            f"least {size} is allowed"
        )
    return np.lib.stride_tricks.sliding_window_view(input_ids, size, axis=1)


def _checked_keys(keys: Any) -> Ids:
    if not isinstance(keys, Sequence | np.ndarray) or isinstance(keys, str) or not len(keys):
        raise InputError(f"keys is {shown(keys)}; a list of at least one whole number is allowed")
    for key in keys:
        check_whole_number("keys", key, *_INT64)
    return np.array(keys, np.int64)


@lru_cache(maxsize=4)
def _sampling_table(seed: int, size: int) -> NDArray[np.float32]:
    return randint_bits(seed, size).astype(np.float32)
