"""The result of a perplexity measurement, and its arithmetic: means and their standard errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.evaluation.journal import WindowScore


@dataclass(frozen=True)
class Perplexity:
    """The perplexity of documents.

    Attributes:
        protocol: rolling or card; see perplexity().
        documents, tokens, words, bytes: how many were scored; words and bytes of the documents
            before any detokenizing or normalizing.
        log_likelihood: the sum over all tokens, natural logarithms.
        token_perplexity: exp of the mean token loss; with card the mean over batches.
        standard_error: of the token perplexity, if windows are independent of each other.
        accuracy: the share of tokens that were the likeliest.
        tokens_per_byte: with card, the ratio that bits_per_byte is computed with: the incomplete
            last chunk is not scored, so that tokens / bytes would be too small.
    """

    protocol: str
    documents: int
    tokens: int
    words: int
    bytes: int
    log_likelihood: float
    token_perplexity: float
    standard_error: float
    accuracy: float
    tokens_per_byte: float | None = None

    @property
    def word_perplexity(self) -> float:
        return exp_or_infinity(-self.log_likelihood / self.words)

    @property
    def byte_perplexity(self) -> float:
        return exp_or_infinity(-self.log_likelihood / self.bytes)

    @property
    def bits_per_byte(self) -> float:
        bits = -self.log_likelihood / math.log(2)
        if self.tokens_per_byte is None:
            return bits / self.bytes
        return bits / self.tokens * self.tokens_per_byte

    def as_dict(self) -> dict[str, Any]:
        """Return all figures by name, for JSON.

        None stands for a number that is not finite, and for figures that card does not define.
        """
        values = {**vars(self), "bits_per_byte": self.bits_per_byte}
        for name in ("word_perplexity", "byte_perplexity"):
            values[name] = getattr(self, name) if self.protocol == "rolling" else None
        return {
            name: finite_or_none(value) if isinstance(value, float) else value
            for name, value in values.items()
        }


def token_perplexity(scores: Sequence[WindowScore]) -> tuple[float, float]:
    """Return exp(mean token loss) and its standard error, of at least one window.

    The error is that of a ratio of sums over windows, by the delta method.
    """
    losses = np.array([-score.log_likelihood for score in scores])
    tokens = np.array([score.tokens for score in scores])
    mean = losses.sum() / tokens.sum()
    value = exp_or_infinity(mean)
    if len(scores) < 2:
        return value, math.nan
    residuals = losses - mean * tokens
    variance = (residuals**2).sum() * len(scores) / (len(scores) - 1)
    return value, value * math.sqrt(variance) / float(tokens.sum())


def batch_perplexity(scores: Sequence[WindowScore], batch_size: int) -> tuple[float, float]:
    """Return the mean over complete batches of exp(mean token loss), and its standard error.

    Raises:
        InputError: there are fewer windows than one batch has.
    """
    starts = range(0, len(scores) - batch_size + 1, batch_size)
    batches = [scores[start : start + batch_size] for start in starts]
    if not batches:
        raise InputError(
            f"batch_size is {batch_size}, and there are {len(scores)} chunks; pass a smaller one"
        )
    values = []
    for batch in batches:
        loss = -sum(score.log_likelihood for score in batch)
        values.append(exp_or_infinity(loss / sum(score.tokens for score in batch)))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(np.mean(values)), error


def exp_or_infinity(value: float) -> float:
    """Return exp(value), or infinity where a float cannot hold it."""
    return math.exp(value) if value < 700 else math.inf


def finite_or_none(value: float) -> float | None:
    """Return the value, or None if it is infinite or NaN, which JSON has no number for."""
    return value if math.isfinite(value) else None
