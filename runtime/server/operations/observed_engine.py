"""An engine whose requests are counted, and noted in the record of the request of HTTP."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.scheduling import (
    AsyncEngine,
    FinishReason,
    Outcome,
    RequestStatistics,
    SchedulerSettings,
    TokenEvent,
)
from gptneo_onnx.runtime.scheduling.events import Event
from gptneo_onnx.runtime.scheduling.prompt_results import PromptScores
from gptneo_onnx.runtime.scheduling.stream import AsyncTokenStream, Cancellable, Delivery, End
from gptneo_onnx.runtime.server.operations.metrics import OneModelMetrics
from gptneo_onnx.runtime.server.operations.request_record import current_record

_ENDS: dict[Outcome | None, str] = {
    Outcome.TIMED_OUT: "timeout",
    Outcome.FAILED: "error",
}


class ObservedEngine(AsyncEngine):
    """An engine whose requests are counted."""

    def __init__(
        self, model: Any, settings: SchedulerSettings, name: str, metrics: OneModelMetrics
    ) -> None:
        """Start to serve.

        Args:
            model: as for AsyncEngine.
            settings: as for AsyncEngine.
            name: what the model is called in logs.
            metrics: where requests are counted.
        """
        super().__init__(model, settings)
        self._name = name
        self._metrics = metrics

    def submit(self, **kwargs: Any) -> AsyncTokenStream:
        """Add a request; see AsyncEngine.submit()."""
        stream = super().submit(**kwargs)
        record = current_record.get()
        if record is not None:
            record.model = self._name
            record.served.append(stream.statistics)
        return stream

    async def embed(self, ids: Sequence[int], **named: Any) -> NDArray[np.float32]:
        """Return a text's vector; see AsyncEngine.embed()."""
        self._note_read(ids)
        return await super().embed(ids, **named)

    async def score(self, ids: Sequence[int], *arguments: Any, **named: Any) -> PromptScores:
        """Return the scores of a text's tokens; see AsyncEngine.score()."""
        self._note_read(ids)
        return await super().score(ids, *arguments, **named)

    def _note_read(self, ids: Sequence[int]) -> None:
        record = current_record.get()
        if record is not None:
            record.model = self._name
            record.read_tokens += len(ids)

    def _new_stream(self) -> AsyncTokenStream:
        return _CountedStream(self._metrics)


class _CountedStream(AsyncTokenStream):
    """A stream that counts what passes through it, in the scheduler's thread."""

    def __init__(self, metrics: OneModelMetrics) -> None:
        super().__init__()
        self._metrics = metrics
        self._lock = threading.Lock()
        self._is_ended = False
        self._is_counted = False
        self._last: float | None = None
        self._unfinished: set[int] = set()  # results that have begun, and not ended
        self._reason: FinishReason | None = None

    def deliver(self, delivery: Delivery) -> None:
        """Count events, and pass them on: who has the answer finds it counted."""
        if isinstance(delivery, End):
            self._is_ended = True
            self._count_end_once()
        else:
            self._count_tokens(delivery)
        super().deliver(delivery)

    def attach(self, request: Cancellable) -> None:
        """Take the request that this is the stream of; it may have ended already."""
        super().attach(request)
        self._count_end_once()

    def _count_end_once(self) -> None:
        with self._lock:
            is_due = self._is_ended and self._request is not None and not self._is_counted
            self._is_counted = self._is_counted or is_due
        if is_due:
            self._count_end(self.statistics)

    def _count_tokens(self, delivery: Sequence[Event]) -> None:
        tokens = [event for event in delivery if isinstance(event, TokenEvent)]
        if not tokens:
            return
        self._metrics.generation_tokens.inc(len(tokens))
        now = time.perf_counter()
        if self._last is not None:
            sequences = len({event.sequence for event in tokens})
            rounds = len(tokens) // sequences  # more than one where drafts were right
            for _ in range(rounds):
                self._metrics.inter_token.observe((now - self._last) / rounds)
        self._last = now
        for event in tokens:
            self._unfinished.add(event.sequence)
            if event.finish_reason is not None:
                self._unfinished.remove(event.sequence)
                if self._reason is not FinishReason.LENGTH:
                    self._reason = event.finish_reason

    def _count_end(self, took: RequestStatistics) -> None:
        metrics, finished = self._metrics, took.finished or time.perf_counter()
        metrics.ends[self._why(took)].inc()
        metrics.latency.observe(finished - took.arrived)
        metrics.queue.observe((took.admitted or finished) - took.arrived)
        metrics.request_prompt_tokens.observe(took.prompt_tokens)
        metrics.request_generation_tokens.observe(took.generated_tokens)
        if took.first_token is None:
            return
        metrics.first_token.observe(took.first_token - took.arrived)
        if took.admitted is not None:
            metrics.prefill.observe(took.first_token - took.admitted)
        metrics.decode.observe(finished - took.first_token)
        if took.generated_tokens > 1:
            per_token = (finished - took.first_token) / (took.generated_tokens - 1)
            metrics.per_output_token.observe(per_token)

    def _why(self, took: RequestStatistics) -> str:
        """Return why the request ended, by vLLM's words."""
        # Who has the last token cancels what is left, which is nothing.
        is_whole = self.is_enough or (self._reason is not None and not self._unfinished)
        if took.outcome is Outcome.CANCELLED and not is_whole:
            return "abort"
        return _ENDS.get(took.outcome, self._reason or FinishReason.STOP)
