"""From the hidden states of a prompt's tokens to one vector, while the prompt is read."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import HiddenStates

Pooling = Literal["mean", "last"]


class PooledStates:
    """The hidden states of one layer, pooled as they come.

    Attributes:
        layer: the layer, numbered as in transformers.

    Raises:
        InputError: there is no such pooling.
    """

    def __init__(self, pooling: Pooling, layer: int) -> None:
        if not isinstance(pooling, str) or pooling not in get_args(Pooling):
            raise InputError(
                f"pooling is {shown(pooling)}; one of {', '.join(get_args(Pooling))} is allowed"
            )
        self.layer = layer
        self._pooling = pooling
        self._sum: NDArray[np.float64] | None = None
        self._last: HiddenStates | None = None
        self._tokens = 0

    def add(self, states: HiddenStates) -> None:
        """Take the states [tokens, hidden] of the next tokens."""
        self._tokens += len(states)
        if self._pooling == "last":
            self._last = states[-1].copy()  # a view would keep all of the step's output alive
            return
        before = np.zeros((1, states.shape[1])) if self._sum is None else self._sum[None]
        # Rows are added one after another, so that the sum is the same however they are cut.
        self._sum = np.concatenate([before, states]).sum(axis=0)

    @property
    def vector(self) -> NDArray[np.float32]:
        """The pooled states, float32 [hidden]."""
        if self._pooling == "last":
            assert self._last is not None
            return self._last
        assert self._sum is not None
        return (self._sum / self._tokens).astype(np.float32)
