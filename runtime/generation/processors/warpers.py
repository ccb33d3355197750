"""Logits warpers: they reshape the distribution that sampling draws from.

Each is transformers' class of that name, with its arguments and its arithmetic: likelihoods are
float32, cumulated in float64 and rounded to float32 before they are compared, as PyTorch does on a
CPU. Only tokens that can make a difference are sorted: a stable argsort of 50257 scores takes 3 ms.

Every class takes `input_ids` int64 [batch, length] and `scores` float32 [batch, vocab] and returns
float32 [batch, vocab]: the scores themselves, uncopied, where nothing changes.
"""

from dataclasses import dataclass

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.generation.processors.base import (
    LOWEST,
    exponentials,
    log_probabilities,
    probabilities,
)
from gptneo_onnx.runtime.generation.processors.checks import check_number, check_whole_number

_MINUS_INFINITY = float("-inf")
# n tokens that each have a probability below mass / n have less than that mass in total, so they
# can be left out. The margin allows for rounding.
_SHARE = 0.999


@dataclass(frozen=True)
class TemperatureLogitsWarper:
    """Divides by the temperature: below 1 sharpens the distribution, above 1 flattens it."""

    temperature: float

    def __post_init__(self) -> None:
        if self.temperature == 0:
            raise InputError(
                "temperature is 0; a number above 0 is allowed; for greedy decoding pass "
                "do_sample=False"
            )
        check_number("temperature", self.temperature, above=0, most=np.inf)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if self.temperature == 1:
            return scores
        with np.errstate(all="ignore"):
            warped: Scores = scores / np.float32(self.temperature)
        greatest = warped.max(-1)
        if np.isnan(greatest).any() or (greatest == np.inf).any():
            raise InputError(
                f"temperature is {self.temperature}, too low for scores of this size; raise it, or "
                "pass do_sample=False for greedy decoding"
            )
        return warped


@dataclass(frozen=True)
class TopKLogitsWarper:
    """Keeps the `top_k` best tokens, and all that are as good as the last of them."""

    top_k: int
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_whole_number("top_k", self.top_k, least=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        count = max(self.top_k, self.min_tokens_to_keep)
        if count >= scores.shape[-1]:
            return scores
        return _fill(scores, scores < _last_of_best(scores, count), self.filter_value)


@dataclass(frozen=True)
class TopPLogitsWarper:
    """Drops the tail of total probability 1 - `top_p` (Holtzman et al., arXiv:1904.09751)."""

    top_p: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_number("top_p", self.top_p, least=0, most=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        rows = list(scores)
        warped = [self._warp_row(row) for row in rows]
        is_same = all(new is old for new, old in zip(warped, rows, strict=True))
        return scores if is_same else np.stack(warped)

    def _warp_row(self, row: Scores) -> Scores:
        """Warp a row [vocab], of which another warper may have left few tokens."""
        weights = probabilities(row)
        tail = np.float32(1 - self.top_p)
        is_candidate = weights > tail * np.float32(_SHARE / len(row))
        if np.count_nonzero(is_candidate) < self.min_tokens_to_keep:
            is_candidate.fill(True)
        candidates = np.flatnonzero(is_candidate)
        # Not 1 minus the candidates' mass: its rounding would tip sums that equal the tail.
        mass_of_the_others = weights[~is_candidate].sum(dtype=np.float64)
        cumulative = np.cumsum(np.sort(weights[candidates]), dtype=np.float64)
        cumulative = (mass_of_the_others + cumulative).astype(np.float32)
        count = max(int(np.count_nonzero(cumulative > tail)), self.min_tokens_to_keep)
        if count >= len(row):
            return row
        # Of equal scores a stable sort drops those with the lower ids first.
        kept = candidates[best_tokens(row[candidates], count, lower_ids_first=False)]
        warped = weights  # allocating one more row would take as long as all of the above
        warped.fill(self.filter_value)
        warped[kept] = row[kept]
        return warped


@dataclass(frozen=True)
class MinPLogitsWarper:
    """Drops tokens less than `min_p` times as likely as the likeliest one (arXiv:2407.01082)."""

    min_p: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_number("min_p", self.min_p, least=0, most=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods = probabilities(scores)
        dropped = likelihoods < np.float32(self.min_p) * likelihoods.max(-1, keepdims=True)
        for row, row_dropped in zip(scores, dropped, strict=True):
            _spare_the_best(row, row_dropped, self.min_tokens_to_keep)
        return _fill(scores, dropped, self.filter_value)


@dataclass(frozen=True)
class TypicalLogitsWarper:
    """Keeps tokens whose surprisal is closest to the entropy, up to `mass`; arXiv:2202.00666."""

    mass: float = 0.9
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_number("typical_p", self.mass, above=0, below=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods, logarithms = _distribution(scores)
        entropy = _entropy(likelihoods, logarithms)
        rows = zip(np.abs(-logarithms - entropy), likelihoods, entropy[:, 0], strict=True)
        dropped = np.stack([self._dropped(*row) for row in rows])
        return _fill(scores, dropped, self.filter_value)

    def _dropped(self, distance: Scores, likelihoods: Scores, entropy: np.float32) -> Mask:
        """Mark the tokens of a row [vocab] to drop, by distance from the expected surprise."""
        mass = np.float32(self.mass)
        # Most tokens are far away and have hardly any mass: try without them.
        limit = -np.log((1 - self.mass) * _SHARE / len(distance)) - entropy
        near = np.flatnonzero(distance <= np.float32(limit))
        if np.float32(likelihoods[near].sum(dtype=np.float64)) < mass:
            near = np.arange(len(distance))
        order = near[np.argsort(distance[near])]
        cumulative = np.cumsum(likelihoods[order], dtype=np.float64).astype(np.float32)
        last = min(int(np.count_nonzero(cumulative < mass)), len(order) - 1)
        dropped: Mask = distance > distance[order[last]]
        _spare_the_best(-distance, dropped, self.min_tokens_to_keep)
        return dropped


@dataclass(frozen=True)
class EpsilonLogitsWarper:
    """Drops tokens less likely than `epsilon` (Hewitt et al., arXiv:2210.15191)."""

    epsilon: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_number("epsilon_cutoff", self.epsilon, above=0, below=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        dropped = probabilities(scores) < np.float32(self.epsilon)
        dropped &= scores < _last_of_best(scores, self.min_tokens_to_keep)
        return _fill(scores, dropped, self.filter_value)


@dataclass(frozen=True)
class EtaLogitsWarper:
    """Drops tokens less likely than a bound that falls as entropy rises (arXiv:2210.15191)."""

    epsilon: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_number("eta_cutoff", self.epsilon, above=0, below=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods, logarithms = _distribution(scores)
        epsilon = np.float32(self.epsilon)
        bound = np.sqrt(epsilon) * np.exp(-_entropy(likelihoods, logarithms))
        dropped = likelihoods < np.minimum(epsilon, bound)
        dropped &= scores < _last_of_best(scores, self.min_tokens_to_keep)
        return _fill(scores, dropped, self.filter_value)


@dataclass(frozen=True)
class LogitNormalization:
    """Turns scores into log-likelihoods, which beam search can compare between hypotheses."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return log_probabilities(scores)


def best_tokens(row: Scores, count: int, lower_ids_first: bool) -> Mask:
    """Mark the `count` best tokens of a row [vocab], equally good ones taken by their ids."""
    last_score = _nth_best(row, count)
    best = row >= last_score
    surplus = np.count_nonzero(best) - min(count, len(row))
    if surplus:
        equals = np.flatnonzero(row == last_score)
        best[equals[-surplus:] if lower_ids_first else equals[:surplus]] = False
    return best


def _distribution(scores: Scores) -> tuple[Scores, Scores]:
    """Return likelihoods [batch, vocab] and their logarithms, in little more time than either."""
    shifted = scores - scores.max(-1, keepdims=True)
    likelihoods = exponentials(shifted)
    total = likelihoods.sum(-1, keepdims=True)
    likelihoods *= 1 / total
    return likelihoods, shifted - np.log(total)


def _entropy(likelihoods: Scores, logarithms: Scores) -> Scores:
    """Return the expected surprise of each row, [batch, 1]; tokens at -inf add nothing to it."""
    finite = np.maximum(logarithms, LOWEST)
    return np.asarray(-(finite * likelihoods).sum(-1, keepdims=True))


def _fill(scores: Scores, dropped: Mask, value: float) -> Scores:
    return np.where(dropped, np.float32(value), scores) if dropped.any() else scores


def _last_of_best(scores: Scores, count: int) -> Scores:
    """Return the lowest of the `count` best scores of each row: [batch, vocab] -> [batch, 1]."""
    if count == 1:
        return np.asarray(scores.max(-1, keepdims=True))
    return np.array([[_nth_best(row, count)] for row in scores], np.float32)


def _nth_best(row: Scores, n: int) -> np.float32:
    """Return the `n`-th best score of a row [vocab], the worst if there are fewer."""
    n = min(n, len(row))
    possible = row > -np.inf
    count = np.count_nonzero(possible)
    if count < n:
        return np.float32(-np.inf)
    if count < len(row) // 2:
        # Partitioning is very slow where thousands of scores are equal.
        row = row[np.flatnonzero(possible)]
    return np.float32(np.partition(row, -n)[-n])


def _spare_the_best(row: Scores, dropped: Mask, count: int) -> None:
    """Take the `count` best tokens of a row [vocab] out of `dropped`, in place."""
    if len(row) - np.count_nonzero(dropped) < count:
        dropped &= ~best_tokens(row, count, lower_ids_first=True)
