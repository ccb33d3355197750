"""Work on prompts: what is reused of them, and requests that only read one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.scheduling.pooled_states import Pooling
from gptneo_onnx.runtime.scheduling.prefix_store import PrefixStatistics
from gptneo_onnx.runtime.scheduling.prompt_lane import PromptLane
from gptneo_onnx.runtime.scheduling.prompt_results import (
    PromptScores,
    embedding_request,
    scoring_request,
)
from gptneo_onnx.runtime.scheduling.request import Request
from gptneo_onnx.runtime.scheduling.statistics import RequestStatistics


class PromptRequests(ABC):
    """What takes requests that only read a prompt.

    Attributes:
        engine: steps the model.
    """

    engine: Engine
    _prompts: PromptLane

    @property
    def prefixes(self) -> PrefixStatistics:
        """What was reused of earlier prompts so far, and what is kept."""
        return self._prompts.statistics

    def embed(
        self, ids: Sequence[int], *, pooling: Pooling = "mean", timeout: float | None = None
    ) -> Future[NDArray[np.float32]]:
        """Add a text to be embedded; return its future vector, float32 [hidden].

        It is read between the steps of other requests, as prompts are. Cancelling the future ends
        the reading.

        Args:
            ids: the text's tokens.
            pooling: "mean" for the mean of the last layer's hidden states, "last" for those of the
                last token.
            timeout: seconds after which the result is a RequestTimeoutError.

        Raises:
            InputError: the ids cannot be read, there is no such pooling, or the graph lacks the
                hidden states of the last layer.
            QueueFullError: as many requests wait as may.
            SchedulerClosedError: close() was called.
        """
        request, result = embedding_request(self.engine, ids, pooling, timeout, self._ended)
        self._add(request)
        return result

    def score(
        self, ids: Sequence[int], top: int = 0, timeout: float | None = None
    ) -> Future[PromptScores]:
        """Add a text whose tokens are to be scored; return the future scores, the first None.

        Args:
            ids: the text's tokens.
            top: how many of the likeliest tokens to name beside each.
            timeout: seconds after which the result is a RequestTimeoutError.

        Raises:
            InputError: the ids cannot be read.
            QueueFullError: as many requests wait as may.
            SchedulerClosedError: close() was called.
        """
        request, result = scoring_request(self.engine, ids, top, timeout, self._ended)
        self._add(request)
        return result

    @abstractmethod
    def _add(self, request: Request) -> None:
        """Let a request wait for its turn."""

    @abstractmethod
    def _ended(self, statistics: RequestStatistics) -> None:
        """Count a request that has ended."""
