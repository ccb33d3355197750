"""SynthID's watermark: a tournament between tokens, decided by hashes of the tokens before.

Dathathri et al., Nature 2024, doi:10.1038/s41586-024-08025-4. Names and results are those of
transformers.SynthIDTextWatermarkLogitsProcessor on a CPU, so its detectors find these watermarks.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Floats, Ids, Mask, Scores
from gptneo_onnx.runtime.generation.processors.base import probabilities
from gptneo_onnx.runtime.generation.processors.checks import check_cpu, check_whole_number
from gptneo_onnx.runtime.generation.processors.conversions import flag, whole
from gptneo_onnx.runtime.generation.processors.torch_random import randint_bits
from gptneo_onnx.runtime.generation.tensors import as_array, takes_ids, takes_scores

_MULTIPLIER = np.int64(6364136223846793005)  # of the linear congruential generator in newlib
_INT64 = (-(2**63), 2**63 - 1)
_MAX_TABLE_SIZE = 2**24
_SCORES = 2**16  # this many are taken together: their hashes stay in the processor's cache


class SynthIDTextWatermarkLogitsProcessor:
    """Moves likelihood to the tokens whose hash with context and key gives a 1, once for each key.

    A processor remembers the tokens and contexts of earlier calls, so it can serve only one batch.
    The prompt is not part of the context: the first calls hash zeros in its place.

    Args:
        ngram_len: tokens that are hashed together, the candidate included.
        keys: the secret keys, one for each round of the tournament.
        sampling_table_size: size of the table that turns hashes into bits, at most 2 ** 24.
        sampling_table_seed: seed of that table.
        context_history_size: a context that occurred among this many before gets no watermark.
        device: "cpu"; PyTorch's generators of other devices draw other tables.
        skip_first_ngram_calls: whether to leave the first ngram_len - 1 calls without a watermark.
        debug_mode: whether to treat all scores as equal.
    """

    def __init__(
        self,
        ngram_len: int,
        keys: Sequence[int],
        sampling_table_size: int,
        sampling_table_seed: int,
        context_history_size: int,
        device: object = "cpu",
        skip_first_ngram_calls: bool = False,
        debug_mode: bool = False,
    ) -> None:
        ngram_len = whole("ngram_len", ngram_len)
        sampling_table_size = whole("sampling_table_size", sampling_table_size)
        sampling_table_seed = whole("sampling_table_seed", sampling_table_seed)
        context_history_size = whole("context_history_size", context_history_size)
        check_whole_number("ngram_len", ngram_len, 1, _MAX_TABLE_SIZE)
        check_whole_number("sampling_table_size", sampling_table_size, 1, _MAX_TABLE_SIZE)
        check_whole_number("sampling_table_seed", sampling_table_seed, 0, 2**64 - 1)
        check_whole_number("context_history_size", context_history_size, 0, _MAX_TABLE_SIZE)
        check_cpu(device)
        self.ngram_len = ngram_len
        self.keys = _checked_keys(keys)
        self.sampling_table = _sampling_table(sampling_table_seed, sampling_table_size)
        self.context_history_size = context_history_size
        self.skip_first_ngram_calls = flag("skip_first_ngram_calls", skip_first_ngram_calls)
        self.debug_mode = flag("debug_mode", debug_mode)
        self._calls = 0
        self._context: Ids  # [batch, ngram_len - 1]
        self._history: Ids  # [batch, context_history_size], hashes of contexts, the newest first

    @takes_scores
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
        marked = scores.copy()
        fresh = np.flatnonzero(~repeated)
        count = max(1, _SCORES // scores.shape[1])
        for start in range(0, len(fresh), count):
            rows = fresh[start : start + count]
            marked[rows] = self._marked(scores[rows], context_hash[rows])
        return marked

    def _advance(self, input_ids: Ids) -> None:
        """Append the newest tokens of [batch, length] to the context."""
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

    def _marked(self, scores: Scores, context_hashes: Ids) -> Scores:
        """Return log-likelihoods of rows [rows, vocab] with the watermark."""
        likelihoods = probabilities(scores)
        # The tournament moves nothing to a token of likelihood 0. After top_k few others remain:
        # all rows' candidates lie one after the other, [candidates].
        rows, tokens = np.divmod(np.flatnonzero(likelihoods), scores.shape[1])
        starts = np.searchsorted(rows, np.arange(len(scores)))
        counts = np.diff(np.append(starts, len(rows)))
        candidates = likelihoods[rows, tokens]
        for bits in self._bits(_hash(context_hashes[rows], tokens[:, None])):
            ones = np.add.reduceat(bits * candidates, starts)  # [rows]
            candidates *= 1 + bits - np.repeat(ones, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithms = np.log(candidates)
        lowest = np.finfo(scores.dtype).min
        marked = np.full_like(scores, lowest)
        marked[rows, tokens] = np.where(np.isfinite(logarithms), logarithms, lowest)
        return marked

    def _bits(self, hashes: Ids) -> Iterator[Floats]:
        """Yield for each key a 0 or 1 for each hash, in the shape of `hashes`."""
        size = len(self.sampling_table)
        for key in self.keys:
            keyed = _hash(hashes, key[None])
            # For a power of two: `%` of 1.5 million hashes takes 12 ms, `&` gives the same in 1 ms.
            indices = keyed & (size - 1) if size & (size - 1) == 0 else keyed % size
            yield self.sampling_table[indices]

    @takes_ids
    def compute_g_values(self, input_ids: Ids) -> Ids:
        """Return the bits of a text for a detector: [batch, length] -> [batch, ngrams, keys]."""
        ngrams = _windows(input_ids, self.ngram_len)
        hashes = _hash(np.ones(ngrams.shape[:2], np.int64), ngrams)
        return np.stack(list(self._bits(hashes)), axis=-1).astype(np.int64)

    @takes_ids
    def compute_context_repetition_mask(self, input_ids: Ids) -> Mask:
        """Mark the n-grams whose context is new, for a detector: [batch, ngrams]."""
        contexts = _windows(input_ids[:, :-1], self.ngram_len - 1)
        hashes = _hash(np.ones(contexts.shape[:2], np.int64), contexts)
        fresh = np.ones(hashes.shape, np.bool_)
        for position in range(hashes.shape[1]):
            recent = hashes[:, max(0, position - self.context_history_size) : position]
            fresh[:, position] = (recent != hashes[:, position, None]).all(-1)
        return fresh

    @takes_ids
    def compute_eos_token_mask(self, input_ids: Ids, eos_token_id: int) -> Mask:
        """Mark the tokens before the first end token: [batch, length] -> [batch, length]."""
        return np.asarray(np.cumsum(input_ids == eos_token_id, axis=-1) == 0)

    def expected_mean_g_value(self, vocab_size: int, coinflip_prob: float = 0.5) -> float:
        """Return the mean bit of text that a uniform model writes with the watermark of one key."""
        return coinflip_prob + coinflip_prob * (1 - coinflip_prob) * (1 - 1 / vocab_size)


def _hash(current: Ids, data: Ids) -> Ids:
    """Hash `data` [..., n] onto `current` [...]; int64 wraps around, as torch's does."""
    for column in range(data.shape[-1]):
        current = (current + data[..., column]) * _MULTIPLIER + 1
    return current


def _windows(input_ids: Ids, size: int) -> Ids:
    """Return all runs of `size` tokens: [batch, length] -> [batch, length - size + 1, size]."""
    if input_ids.ndim != 2 or input_ids.shape[1] < size:
        raise InputError(
            f"input_ids is of shape {list(input_ids.shape)}; [batch, length] with a length of at "
            f"least {size} is allowed"
        )
    return np.lib.stride_tricks.sliding_window_view(input_ids, size, axis=1)


def _checked_keys(keys: Any) -> Ids:
    keys = as_array(keys)
    is_list = isinstance(keys, Sequence) or (isinstance(keys, np.ndarray) and keys.ndim == 1)
    if not is_list or isinstance(keys, str | bytes) or not len(keys):
        raise InputError(f"keys is {shown(keys)}; a list of at least one whole number is allowed")
    for key in keys:
        check_whole_number("keys", key, *_INT64)
    return np.array(keys, np.int64)


@lru_cache(maxsize=4)
def _sampling_table(seed: int, size: int) -> Floats:
    return randint_bits(seed, size).astype(np.float32)
