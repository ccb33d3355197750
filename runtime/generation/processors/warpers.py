"""Logits warpers: they reshape the distribution that sampling draws from.

Each is transformers' class of that name, with its arguments and its arithmetic: likelihoods are
float32, cumulated in float64 and rounded to float32 before they are compared, as PyTorch does on a
CPU. Only tokens near a threshold are sorted (crossing.py): an argsort of 50257 takes 3 ms.
Where a threshold is so near that the last bit decides, likelihoods are computed bit for bit as
PyTorch's with AVX-512 (torch_softmax.py); with AVX2, PyTorch itself may keep one token more or less
there. What is left to chance there too: which of equal scores at the threshold are kept.

Every class takes `input_ids` int64 [batch, length] and `scores` float32 [batch, vocab] and returns
float32 [batch, vocab]: the scores themselves, uncopied, where nothing changes. Scores of float64
stay float64; torch's tensors give tensors.
"""

from dataclasses import dataclass

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.generation.processors.base import (
    exponentials,
    log_probabilities,
    probabilities,
)
from gptneo_onnx.runtime.generation.processors.best_tokens import (
    best_tokens,
    last_of_best,
    spare_the_best,
)
from gptneo_onnx.runtime.generation.processors.checks import is_number
from gptneo_onnx.runtime.generation.processors.conversions import (
    fraction,
    number,
    positive,
    rounded_down,
    set_fields,
    whole,
)
from gptneo_onnx.runtime.generation.processors.crossing import crossing
from gptneo_onnx.runtime.generation.processors.torch_softmax import (
    cumulative_softmax,
    rounding,
    torch_softmax,
)
from gptneo_onnx.runtime.generation.tensors import takes_scores

_MINUS_INFINITY = float("-inf")


@dataclass(frozen=True)
class TemperatureLogitsWarper:
    """Divides by the temperature: below 1 sharpens the distribution, above 1 flattens it."""

    temperature: float

    def __post_init__(self) -> None:
        if is_number(self.temperature) and self.temperature == 0:
            raise InputError(
                "temperature is 0; a number above 0 is allowed; for greedy decoding pass "
                "do_sample=False"
            )
        set_fields(self, temperature=positive("temperature", self.temperature))

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        # As there, a tiny temperature gives infinite scores, and an infinite one NaN for -inf.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return scores if self.temperature == 1 else scores / scores.dtype.type(self.temperature)


@dataclass(frozen=True)
class TopKLogitsWarper:
    """Keeps the `top_k` best tokens, and all that are as good as the last of them."""

    top_k: int
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        set_fields(self, filter_value=number("filter_value", self.filter_value))
        least = number("min_tokens_to_keep", self.min_tokens_to_keep)
        count = max(whole("top_k", self.top_k, least=1), least)
        set_fields(self, top_k=whole("min_tokens_to_keep", count))

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if self.top_k >= scores.shape[-1]:
            return scores
        return _fill(scores, scores < last_of_best(scores, self.top_k), self.filter_value)


@dataclass(frozen=True)
class TopPLogitsWarper:
    """Drops the tail of total probability 1 - `top_p` (Holtzman et al., arXiv:1904.09751)."""

    top_p: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        set_fields(self, top_p=fraction("top_p", self.top_p, is_open=False))
        set_fields(self, filter_value=number("filter_value", self.filter_value))
        set_fields(
            self, min_tokens_to_keep=whole("min_tokens_to_keep", self.min_tokens_to_keep, least=1)
        )

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        rows = list(scores)
        warped = [self._warp_row(row) for row in rows]
        is_same = all(new is old for new, old in zip(warped, rows, strict=True))
        return scores if is_same else np.stack(warped)

    def _warp_row(self, row: Scores) -> Scores:
        """Warp a row [vocab], of which another warper may have left few tokens."""
        weights = probabilities(row)
        tail = row.dtype.type(1 - self.top_p)
        least: np.float32 | None
        # After top_k nearly all weights are 0.
        possible = weights > 0
        zeros = len(row) - np.count_nonzero(possible)
        masses = weights[np.flatnonzero(possible)] if 2 * zeros > len(row) else weights
        found = crossing(masses, masses, float(tail))
        if found is None:
            cumulative = cumulative_softmax(np.sort(row))
            dropped, least = int(np.count_nonzero(cumulative <= tail)), None
        else:
            dropped, least = len(row) - len(masses) + found[0], found[1]
        count = max(len(row) - dropped, self.min_tokens_to_keep)
        if count >= len(row):
            return row
        kept = _best(row, weights, count, least)
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
        given = number("min_p", self.min_p)
        set_fields(self, min_p=fraction("min_p", given, is_open=False))
        set_fields(self, filter_value=number("filter_value", self.filter_value))
        set_fields(
            self, min_tokens_to_keep=whole("min_tokens_to_keep", self.min_tokens_to_keep, least=1)
        )

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods = probabilities(scores)
        factor = scores.dtype.type(self.min_p)
        bounds = factor * likelihoods.max(-1, keepdims=True)
        dropped, undecided = _less_likely(likelihoods, bounds)
        for row in undecided:
            exact = torch_softmax(scores[row])
            dropped[row] = exact < factor * exact.max()
        for row, row_dropped in zip(scores, dropped, strict=True):
            spare_the_best(row, row_dropped, self.min_tokens_to_keep)
        return _fill(scores, dropped, self.filter_value)


@dataclass(frozen=True)
class TypicalLogitsWarper:
    """Keeps tokens whose surprisal is closest to the entropy, up to `mass`; arXiv:2202.00666."""

    mass: float = 0.9
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        set_fields(self, mass=fraction("typical_p", self.mass, is_open=True))
        set_fields(self, filter_value=number("filter_value", self.filter_value))
        set_fields(
            self, min_tokens_to_keep=whole("min_tokens_to_keep", self.min_tokens_to_keep, least=1)
        )

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods, logarithms = _distribution(scores)
        entropy = _entropy(likelihoods, logarithms)
        distances = np.abs(-logarithms - entropy)
        rows = zip(scores, distances, likelihoods, strict=True)
        dropped = np.stack([self._dropped(*row) for row in rows])
        return _fill(scores, dropped, self.filter_value)

    def _dropped(self, row: Scores, distance: Scores, likelihoods: Scores) -> Mask:
        """Mark the tokens of a row [vocab] to drop, by distance from the expected surprise."""
        mass = row.dtype.type(self.mass)
        found = crossing(distance, likelihoods, float(mass))
        if found is None:
            order = np.argsort(distance)
            cumulative = cumulative_softmax(row[order])
            last = min(int(np.count_nonzero(cumulative < mass)), len(order) - 1)
            found = last, distance[order[last]]
        dropped: Mask = distance > found[1]
        spare_the_best(-distance, dropped, self.min_tokens_to_keep)
        return dropped


@dataclass(frozen=True)
class EpsilonLogitsWarper:
    """Drops tokens less likely than `epsilon` (Hewitt et al., arXiv:2210.15191)."""

    epsilon: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        set_fields(self, epsilon=fraction("epsilon_cutoff", self.epsilon, is_open=True))
        set_fields(self, filter_value=number("filter_value", self.filter_value))
        least = rounded_down("min_tokens_to_keep", self.min_tokens_to_keep, least=1)
        set_fields(self, min_tokens_to_keep=least)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods = probabilities(scores)
        bound = scores.dtype.type(self.epsilon)
        dropped, undecided = _less_likely(likelihoods, bound)
        for row in undecided:
            dropped[row] = torch_softmax(scores[row]) < bound
        dropped &= scores < last_of_best(scores, self.min_tokens_to_keep)
        return _fill(scores, dropped, self.filter_value)


@dataclass(frozen=True)
class EtaLogitsWarper:
    """Drops tokens less likely than a bound that falls as entropy rises (arXiv:2210.15191).

    `device` is transformers', and makes no difference.
    """

    epsilon: float
    filter_value: float = _MINUS_INFINITY
    min_tokens_to_keep: int = 1
    device: object = "cpu"

    def __post_init__(self) -> None:
        set_fields(self, epsilon=fraction("eta_cutoff", self.epsilon, is_open=True))
        set_fields(self, filter_value=number("filter_value", self.filter_value))
        least = rounded_down("min_tokens_to_keep", self.min_tokens_to_keep, least=1)
        set_fields(self, min_tokens_to_keep=least)

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        likelihoods, logarithms = _distribution(scores)
        epsilon = np.float32(self.epsilon)  # there too, whatever the scores' type
        bound = np.sqrt(epsilon) * np.exp(-_entropy(likelihoods, logarithms))
        dropped = likelihoods < np.minimum(epsilon, bound)
        dropped &= scores < last_of_best(scores, self.min_tokens_to_keep)
        return _fill(scores, dropped, self.filter_value)


@dataclass(frozen=True)
class LogitNormalization:
    """Turns scores into log-likelihoods, which beam search can compare between hypotheses."""

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        return log_probabilities(scores)


def _best(row: Scores, weights: Scores, count: int, least: np.float32 | None) -> Ids:
    """Return the `count` best tokens of a row [vocab]; `least` is the least of their weights."""
    kept = np.flatnonzero(weights >= (-1 if least is None else least))
    if len(kept) < count:
        kept = np.arange(len(row))
    # Where scores are equal, a stable sort drops the lower ids first.
    return kept[best_tokens(row[kept], count, lower_ids_first=False)] if len(kept) > count else kept


def _less_likely(likelihoods: Scores, bounds: Scores | np.float32) -> tuple[Mask, Ids]:
    """Mark the likelihoods below the bounds; and return the rows where rounding decides of some."""
    margin = rounding(likelihoods)
    surely = likelihoods < bounds * likelihoods.dtype.type(1 - margin)
    possibly = likelihoods < bounds * likelihoods.dtype.type(1 + margin)
    if np.count_nonzero(surely) == np.count_nonzero(possibly):
        return surely, np.empty(0, np.int64)
    return surely, np.flatnonzero((surely != possibly).any(-1))


def _distribution(scores: Scores) -> tuple[Scores, Scores]:
    """Return likelihoods [batch, vocab] and their logarithms, in little more time than either."""
    shifted = scores - scores.max(-1, keepdims=True)
    likelihoods = exponentials(shifted)
    total = likelihoods.sum(-1, keepdims=True)
    likelihoods *= 1 / total
    return likelihoods, shifted - np.log(total)


def _entropy(likelihoods: Scores, logarithms: Scores) -> Scores:
    """Return the expected surprise of each row, [batch, 1]; tokens at -inf add nothing to it."""
    finite = np.maximum(logarithms, np.finfo(logarithms.dtype).min)
    return np.asarray(-(finite * likelihoods).sum(-1, keepdims=True))


def _fill(scores: Scores, dropped: Mask, value: float) -> Scores:
    return np.where(dropped, scores.dtype.type(value), scores) if dropped.any() else scores
