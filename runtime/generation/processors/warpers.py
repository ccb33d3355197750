"""Logits warpers: they reshape the distribution that sampling draws from.

Each is transformers' class of that name, with its arguments and its arithmetic: likelihoods are
float32, cumulated in float64 and rounded to float32 before they are compared, as PyTorch does on a
CPU. Only what can decide is sorted: a stable argsort of 50257 scores takes 3 ms.

Every class: `input_ids` int64 [batch, length] and `scores` float32 [batch, vocab] in, float32
[batch, vocab] out. Where nothing changes, the scores themselves are handed back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.generation.processors.base import (
    Ids,
    Scores,
    log_probabilities,
    probabilities,
)

Mask = NDArray[np.bool_]
_MINUS_INFINITY = float("-inf")
_LOWEST = float(np.finfo(np.float32).min)
# Tokens of less than an equal share of a mass have less than that mass together; the margin keeps
# rounding out of it.
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
        check_number("temperature", self.temperature, above=0)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return scores if self.temperature == 1 else scores / np.float32(self.temperature)


@dataclass(frozen=True)
class TopKLogitsWarper:
    """Keeps the `top_k` best, and those equal to the last of them."""

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
    """Drops the least likely that have 1 - `top_p` together (Holtzman et al., arXiv:1904.09751)."""

    top_p: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_number("top_p", self.top_p, least=0, most=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        rows = list(scores)
        warped = [self._row(row) for row in rows]
        is_same = all(new is old for new, old in zip(warped, rows, strict=True))
        return scores if is_same else np.stack(warped)

    def _row(self, row: Scores) -> Scores:
        """A row [vocab], of which another warper may have left little."""
        weights: Scores = row - row.max()
        np.exp(weights, out=weights)
        total = weights.sum()
        tail = np.float32(1 - self.top_p)
        rest = np.flatnonzero(weights > total * tail * np.float32(_SHARE / len(row)))
        if len(rest) < self.min_tokens_to_keep:
            rest = np.arange(len(row))
        likelihoods = weights[rest] / total
        likelihoods.sort()
        cumulative = np.cumsum(likelihoods, dtype=np.float64)
        gone_mass = max(0.0, 1.0 - cumulative[-1])
        cumulative = (gone_mass + cumulative).astype(np.float32)
        count = max(int(np.count_nonzero(cumulative > tail)), self.min_tokens_to_keep)
        if count >= len(row):
            return row
        # Of equal scores a stable sort drops those with the lower ids first.
        kept = rest[best_tokens(row[rest], count, lower_ids_first=False)]
        weights.fill(self.filter_value)  # memory for one more row would cost as much as all of this
        weights[kept] = row[kept]
        return weights


@dataclass(frozen=True)
class MinPLogitsWarper:
    """Drops tokens less than `min_p` times as likely as the likeliest (arXiv:2407.01082)."""

    min_p: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        check_number("min_p", self.min_p, least=0, most=1)
        check_whole_number("min_tokens_to_keep", self.min_tokens_to_keep, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods = probabilities(scores)
        gone = likelihoods < np.float32(self.min_p) * likelihoods.max(-1, keepdims=True)
        for row, row_gone in zip(scores, gone, strict=True):
            _spare_the_best(row, row_gone, self.min_tokens_to_keep)
        return _fill(scores, gone, self.filter_value)


@dataclass(frozen=True)
class TypicalLogitsWarper:
    """Keeps the tokens nearest to the expected surprise, `mass` together (arXiv:2202.00666)."""

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
        gone = np.stack([self._gone(*row) for row in rows])
        return _fill(scores, gone, self.filter_value)

    def _gone(self, distance: Scores, likelihoods: Scores, entropy: np.float32) -> Mask:
        """Which tokens of a row [vocab] go, by their distance from the expected surprise."""
        mass = np.float32(self.mass)
        # Most tokens are far away and have no mass to speak of: try without them.
        limit = -np.log((1 - self.mass) * _SHARE / len(distance)) - entropy
        near = np.flatnonzero(distance <= np.float32(limit))
        if np.float32(likelihoods[near].sum(dtype=np.float64)) < mass:
            near = np.arange(len(distance))
        order = near[np.argsort(distance[near])]
        cumulative = np.cumsum(likelihoods[order], dtype=np.float64).astype(np.float32)
        last = min(int(np.count_nonzero(cumulative < mass)), len(order) - 1)
        gone: Mask = distance > distance[order[last]]
        _spare_the_best(-distance, gone, self.min_tokens_to_keep)
        return gone


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
        gone = probabilities(scores) < np.float32(self.epsilon)
        gone &= scores < _last_of_best(scores, self.min_tokens_to_keep)
        return _fill(scores, gone, self.filter_value)


@dataclass(frozen=True)
class EtaLogitsWarper:
    """Drops tokens less likely than a bound that falls with the entropy (arXiv:2210.15191)."""

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
        gone = likelihoods < np.minimum(epsilon, bound)
        gone &= scores < _last_of_best(scores, self.min_tokens_to_keep)
        return _fill(scores, gone, self.filter_value)


@dataclass(frozen=True)
class LogitNormalization:
    """Makes log-likelihoods of the scores: beam search compares them between hypotheses."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return log_probabilities(scores)


def check_whole_number(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise InputError unless `value` is a whole number from `least` to `most`."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} is {shown(value)}; a whole number {bounds} is allowed")


def check_number(
    name: str,
    value: Any,
    *,
    least: float = _LOWEST,
    above: float = -np.inf,
    most: float = -_LOWEST,
    below: float = np.inf,
) -> None:
    """Raise InputError unless `value` is a number of float32's range, and within the bounds."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if is_number and least <= value <= most and above < value < below:
        return
    bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
    said = [f"{word} {bound:g}" for word, bound in bounds.items() if abs(bound) < -_LOWEST]
    allowed = f"number {' and '.join(said)}" if said else "finite number"
    raise InputError(f"{name} is {shown(value)}; a {allowed} is allowed")


def best_tokens(row: Scores, count: int, lower_ids_first: bool) -> Mask:
    """Which tokens of a row [vocab] are its `count` best, equal ones taken by their ids."""
    least = _nth_best(row, count)
    best = row >= least
    surplus = np.count_nonzero(best) - min(count, len(row))
    if surplus:
        equals = np.flatnonzero(row == least)
        best[equals[-surplus:] if lower_ids_first else equals[:surplus]] = False
    return best


def _distribution(scores: Scores) -> tuple[Scores, Scores]:
    """The likelihoods [batch, vocab] and their logarithms, for little more than one of them."""
    shifted = scores - scores.max(-1, keepdims=True)
    likelihoods = np.exp(shifted)
    total = likelihoods.sum(-1, keepdims=True)
    likelihoods /= total
    return likelihoods, shifted - np.log(total)


def _entropy(likelihoods: Scores, logarithms: Scores) -> Scores:
    """Expected surprise of each row, [batch, 1]; what is gone has no part in it."""
    finite = np.maximum(logarithms, _LOWEST)
    return np.asarray(-(finite * likelihoods).sum(-1, keepdims=True))


def _fill(scores: Scores, gone: Mask, value: float) -> Scores:
    return np.where(gone, np.float32(value), scores) if gone.any() else scores


def _last_of_best(scores: Scores, count: int) -> Scores:
    """The lowest of the `count` best scores of each row: [batch, vocab] -> [batch, 1]."""
    if count == 1:
        return np.asarray(scores.max(-1, keepdims=True))
    return np.array([[_nth_best(row, count)] for row in scores], np.float32)


def _nth_best(row: Scores, n: int) -> np.float32:
    """The `n`-th best score of a row [vocab], the worst if there are fewer."""
    n = min(n, len(row))
    left = row > -np.inf
    count = np.count_nonzero(left)
    if count < n:
        return np.float32(-np.inf)
    if count < len(row) // 2:
        # Partitioning crawls among thousands of equal scores.
        row = row[np.flatnonzero(left)]
    return np.float32(np.partition(row, -n)[-n])


def _spare_the_best(row: Scores, gone: Mask, count: int) -> None:
    """Take the `count` best of a row [vocab] out of `gone`, in place."""
    if len(row) - np.count_nonzero(gone) < count:
        gone &= ~best_tokens(row, count, lower_ids_first=True)
