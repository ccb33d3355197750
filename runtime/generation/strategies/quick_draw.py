"""Draws the token that warpers and sample() would give, without warping a whole vocabulary.

To draw is to take the token with the largest key: its score and its noise. So the likeliest winner
is tried first: whether top_p keeps a token follows from the likelihood of those below it, without
sorting them. Where rounding might decide, nothing is returned, and the warpers have to run.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gptneo_onnx.runtime.arrays import Floats, Ids, Scores
from gptneo_onnx.runtime.generation.noise import TokenNoise
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList
from gptneo_onnx.runtime.generation.processors.best_tokens import nth_best
from gptneo_onnx.runtime.generation.processors.warpers import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from gptneo_onnx.runtime.generation.workspace import Workspace

# In the order in which chain.py has them.
_ORDER = (TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper)
_FIELDS = frozenset(("temperature", "top_k", "top_p", "min_p"))
# Likelihoods and their sums are float32 here; the warpers' own differ by less than this part.
_ROUNDING = 1e-4
# Keys are compared exactly where they are within this part of each other.
_MARGIN = 1.001
# Smaller likelihoods, relative to the greatest, lose digits.
_LEAST_LIKELIHOOD = 1e-30

_workspace = Workspace()


@dataclass(frozen=True)
class QuickDraw:
    """Draws by a temperature, top_k, top_p and min_p; without noise it takes the likeliest token.

    Attributes:
        noise: what tokens are drawn by.
        temperature: None where scores stay as they are.
        top_k, top_p, min_p: None where they drop nothing.
    """

    noise: TokenNoise | None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    @classmethod
    def of(cls, warpers: LogitsProcessorList, noise: TokenNoise | None) -> "QuickDraw | None":
        """Return what draws as these warpers do; None if there are others among them."""
        values: dict[str, Any] = {}
        kinds = [type(warper) for warper in warpers]
        if [kind for kind in _ORDER if kind in kinds] != kinds or (noise is None and kinds):
            return None
        for warper in warpers:
            if getattr(warper, "filter_value", -np.inf) != -np.inf:
                return None
            if getattr(warper, "min_tokens_to_keep", 1) != 1:
                return None
            values |= {name: value for name, value in vars(warper).items() if name in _FIELDS}
        return cls(noise, **values)

    def __call__(self, scores: Scores, position: int) -> int | None:
        """Return the token for that position by scores [vocab], or None where rounding decides."""
        if self.noise is None:
            return int(scores.argmax())
        if scores.dtype != np.float32:
            return None
        with np.errstate(all="ignore"):
            if self.temperature is not None:
                scaled = _floats("scaled", len(scores))
                scores = np.divide(scores, np.float32(self.temperature), out=scaled)
            greatest = scores.max()
            if not -np.inf < greatest < np.inf:
                return None
            candidates = self._candidates(scores, greatest)
            return self._draw(candidates, self.noise, position)

    def _candidates(self, scores: Scores, greatest: np.float32) -> "_Candidates":
        """Return the tokens that may be drawn, without most of those that surely may not."""
        tokens = None
        if self.top_k is not None and self.top_k < len(scores):
            tokens = np.flatnonzero(scores >= nth_best(scores, self.top_k))
            scores = scores[tokens]
        likelihoods = np.subtract(scores, greatest, out=_floats("likelihoods", len(scores)))
        np.exp(likelihoods, out=likelihoods)
        cutoff, total, tail = 0.0, 0.0, None
        if self.min_p is not None:
            cutoff = self.min_p * (1 - _ROUNDING)
        if self.top_p is not None:
            total = float(likelihoods.sum())
            tail = float(np.float32(1 - self.top_p)) * total
            # All tokens that are less likely than this are together less likely than the tail.
            cutoff = max(cutoff, tail / len(scores) * (1 - _ROUNDING))
        below = 0.0
        if cutoff > 0.0:
            kept = np.flatnonzero(likelihoods >= cutoff)
            if 2 * len(kept) < len(scores):
                tokens = kept if tokens is None else tokens[kept]
                scores, likelihoods = scores[kept], likelihoods[kept]
                below = total - float(likelihoods.sum())
        return _Candidates(scores, likelihoods, tokens, total, tail, below)

    def _draw(self, candidates: "_Candidates", noise: TokenNoise, position: int) -> int | None:
        scores, likelihoods, tokens = candidates[:3]
        bounds = _floats("bounds", len(scores))
        np.copyto(bounds, noise.lower_bounds(position, len(scores), tokens), casting="unsafe")
        # In terms of exponential noise, the smallest quotient of noise and likelihood wins.
        quotients = np.add(bounds, np.float32(1), out=_floats("quotients", len(scores)))
        quotients /= likelihoods
        while True:
            rival = int(quotients.argmin())
            if not likelihoods[rival] > _LEAST_LIKELIHOOD:
                return None
            is_kept = self._keeps(candidates, rival)
            if is_kept is None:
                return None
            if is_kept:
                break
            quotients[scores <= scores[rival]] = np.inf  # these are dropped too
        to_beat = _greatest_noise(bounds[rival]) / likelihoods[rival] * np.float32(_MARGIN)
        is_near = bounds <= np.multiply(likelihoods, to_beat, out=_floats("products", len(scores)))
        contenders = np.flatnonzero(is_near)
        if len(contenders) > 1:
            contenders = contenders[quotients[contenders] < np.inf]
        if len(contenders) == 1:
            return int(_ids(tokens, contenders)[0])
        ids = _ids(tokens, contenders)
        keys = scores[contenders] + noise.at(position, ids)
        for index in np.argsort(-keys, kind="stable"):
            is_kept = self._keeps(candidates, int(contenders[index]))
            if is_kept is None:
                return None
            if is_kept:
                return int(ids[index])
        return None

    def _keeps(self, candidates: "_Candidates", index: int) -> bool | None:
        """Return whether the warpers keep a candidate; None where rounding decides."""
        likelihood = float(candidates.likelihoods[index])
        if self.min_p is not None:
            if abs(likelihood - self.min_p) <= _ROUNDING * self.min_p:
                return None
            if likelihood < self.min_p:
                return False
        return candidates.is_above_tail(index)


class _Candidates(NamedTuple):
    """Tokens that may be drawn.

    Attributes:
        scores: float32 [tokens].
        likelihoods: float32 [tokens], relative to the likeliest token's.
        tokens: their ids, ascending; None for the whole vocabulary.
        total: the sum of the likelihoods that top_p counts.
        tail: the sum of those that it drops, the least likely ones; None without top_p.
        below: the sum of those that are no candidates, and less likely than these.
    """

    scores: Scores
    likelihoods: Floats
    tokens: Ids | None
    total: float
    tail: float | None
    below: float

    def is_above_tail(self, index: int) -> bool | None:
        """Return whether top_p keeps a candidate; None where rounding decides."""
        if self.tail is None:
            return True
        score, likelihood = self.scores[index], float(self.likelihoods[index])
        equals = np.count_nonzero(self.scores == score)
        if equals == 1 and likelihood == 1.0 and score == self.scores.max():
            return True  # the likeliest token always stays
        masses = _floats("products", len(self.scores))
        np.multiply(self.likelihoods, self.scores < score, out=masses)
        below = self.below + float(masses.sum())
        margin = _ROUNDING * self.total
        if below + likelihood > self.tail + margin:
            return True
        if below + equals * likelihood < self.tail - margin:
            return False
        return None


def _greatest_noise(bound: np.float32) -> np.float32:
    """Return the greatest exponential noise of a token, times 2**32, by its lower bound."""
    uniform = min((float(bound) + 1) * 2.0**-32, 1 - 2.0**-33)
    return np.float32(-math.log1p(-uniform) * 2.0**32)


def _ids(tokens: Ids | None, indices: Ids) -> Ids:
    return indices if tokens is None else tokens[indices]


def _floats(name: str, length: int) -> Floats:
    return _workspace.array(name, length, np.float32)
