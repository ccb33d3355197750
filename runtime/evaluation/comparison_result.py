"""The result of comparing two models, token by token, and the figures that follow from it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids, Mask
from gptneo_onnx.runtime.evaluation.differences import Difference
from gptneo_onnx.runtime.evaluation.perplexity_result import exp_or_infinity, finite_or_none


@dataclass(frozen=True)
class Comparison:
    """Two models' predictions of the same texts, token by token in the texts' order.

    Attributes:
        documents: how many were read.
        bytes: of all documents.
        losses: float64 [2, tokens], minus the log likelihood of each token, by each model.
        divergences: float64 [tokens], Kullback-Leibler divergences in nats.
        agrees: bool [tokens], whether both models have the same likeliest token.
        context: int64 [tokens], how many tokens precede each in its window.
        largest: the greatest divergences, the greatest first.
    """

    documents: int
    bytes: int
    losses: NDArray[np.float64]
    divergences: NDArray[np.float64]
    agrees: Mask
    context: Ids
    largest: tuple[Difference, ...]

    @property
    def tokens(self) -> int:
        return len(self.divergences)

    @property
    def token_perplexity(self) -> tuple[float, float]:
        first, second = map(exp_or_infinity, self.losses.mean(axis=1).tolist())
        return first, second

    @property
    def bits_per_byte(self) -> tuple[float, float]:
        first, second = (self.losses.sum(axis=1) / self.bytes / math.log(2)).tolist()
        return first, second

    @property
    def perplexity_change(self) -> tuple[float, float]:
        """The ratio of the second perplexity to the first, minus 1, and its standard error.

        Losses are paired token by token: tokens that both models find hard cancel out.
        """
        change = self.losses[1] - self.losses[0]
        ratio = exp_or_infinity(float(change.mean()))
        error = change.std(ddof=1) / math.sqrt(len(change)) if len(change) > 1 else math.nan
        return ratio - 1, ratio * float(error)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures by name, for JSON, without the single tokens.

        None stands for a number that is not finite.
        """
        change, error = self.perplexity_change
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "token_perplexity": [finite_or_none(value) for value in self.token_perplexity],
            "bits_per_byte": self.bits_per_byte,
            "perplexity_change": finite_or_none(change),
            "perplexity_change_error": finite_or_none(error),
            "mean_divergence": float(self.divergences.mean()),
            "median_divergence": float(np.median(self.divergences)),
            "divergence_99": float(np.quantile(self.divergences, 0.99)),
            "max_divergence": float(self.divergences.max()),
            "agreement": float(self.agrees.mean()),
            "largest": [vars(difference) for difference in self.largest],
        }
