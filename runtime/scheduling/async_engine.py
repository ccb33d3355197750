"""The scheduler for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.scheduling.events import Event
from gptneo_onnx.runtime.scheduling.pooled_states import Pooling
from gptneo_onnx.runtime.scheduling.prompt_results import PromptScores
from gptneo_onnx.runtime.scheduling.request import RequestOptions
from gptneo_onnx.runtime.scheduling.scheduler import Scheduler
from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings
from gptneo_onnx.runtime.scheduling.statistics import FinishObserver, SchedulerStatistics
from gptneo_onnx.runtime.scheduling.stream import AsyncTokenStream


class AsyncEngine:
    """Serves many requests at once with one engine, for coroutines.

        async with AsyncEngine(model, SchedulerSettings(slots=8)) as engine:
            async for event in engine.generate(input_ids=[ids], max_new_tokens=20):
                print(event.token)

    Attributes:
        scheduler: what serves them.
    """

    def __init__(
        self,
        model: Any,
        settings: SchedulerSettings | None = None,
        generation_config: GenerationConfig | None = None,
        on_finish: FinishObserver | None = None,
    ) -> None:
        """Start to serve; see Scheduler for arguments."""
        self.scheduler = Scheduler(model, settings, generation_config, on_finish)

    def submit(
        self,
        *,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AsyncTokenStream:
        """Add a request; return the stream of its events, for the running loop.

        Args and errors are Scheduler.submit's.
        """
        options = RequestOptions(
            logprobs=logprobs, prompt_logprobs=prompt_logprobs, timeout=timeout
        )
        stream = self._new_stream()
        stream.attach(self.scheduler.submit_to(stream.deliver, options, **kwargs))
        return stream

    def _new_stream(self) -> AsyncTokenStream:
        """Return what events are delivered to; for classes that watch them."""
        return AsyncTokenStream()

    async def generate(self, **kwargs: Any) -> AsyncIterator[Event]:
        """Add a request, and yield its events; whoever stops iterating cancels it.

        Args and errors are Scheduler.submit's.
        """
        stream = self.submit(**kwargs)
        try:
            async for event in stream:
                yield event
        finally:
            stream.cancel()

    @property
    def statistics(self) -> SchedulerStatistics:
        """What the scheduler does now, and what it did so far."""
        return self.scheduler.statistics

    async def embed(
        self, ids: Sequence[int], *, pooling: Pooling = "mean", timeout: float | None = None
    ) -> NDArray[np.float32]:
        """Return a text's vector, float32 [hidden]; whoever stops waiting ends the reading.

        Args and errors are Scheduler.embed's; RequestTimeoutError too.
        """
        future = self.scheduler.embed(ids, pooling=pooling, timeout=timeout)
        return await asyncio.wrap_future(future)

    async def score(
        self, ids: Sequence[int], top: int = 0, timeout: float | None = None
    ) -> PromptScores:
        """Return the scores of a text's tokens; whoever stops waiting ends the reading.

        Args and errors are Scheduler.score's; RequestTimeoutError too.
        """
        return await asyncio.wrap_future(self.scheduler.score(ids, top, timeout))

    async def close(self, seconds: float = 0.0) -> None:
        """Take no more requests; wait that long for those that are there, then end them."""
        await asyncio.to_thread(self.scheduler.close, seconds)

    async def __aenter__(self) -> "AsyncEngine":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
