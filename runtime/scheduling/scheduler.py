"""Scheduler: many requests in the slots of one engine, stepped by one thread.

Requests are served by arrival. What each gets is what generate() gives alone: its tokens depend on
its own scores and seed only, and those on nothing else in the batch (docs/precision.md).
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.several_engines import exclusive
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.scheduling.arguments import scheduled_call
from gptneo_onnx.runtime.scheduling.drafts import Drafts, draft_engine
from gptneo_onnx.runtime.scheduling.errors import QueueFullError, SchedulerClosedError
from gptneo_onnx.runtime.scheduling.prompt_lane import PromptLane
from gptneo_onnx.runtime.scheduling.prompt_requests import PromptRequests
from gptneo_onnx.runtime.scheduling.prompt_results import sole_prompt
from gptneo_onnx.runtime.scheduling.request import Request, RequestOptions
from gptneo_onnx.runtime.scheduling.settings import STAGING_SLOTS, SchedulerSettings
from gptneo_onnx.runtime.scheduling.statistics import (
    Counters,
    FinishObserver,
    Outcome,
    RequestStatistics,
    SchedulerStatistics,
)
from gptneo_onnx.runtime.scheduling.stream import Delivery, TokenStream
from gptneo_onnx.runtime.scheduling.turns import Turns
from gptneo_onnx.runtime.scheduling.waiting import WaitingRequests

_log = logging.getLogger(__name__)


class Scheduler(PromptRequests):
    """Serves many requests at once with one engine.

    Attributes:
        engine: steps the model; other calls of it wait while requests are served.
        settings: how it is shared.
    """

    def __init__(
        self,
        model: Any,
        settings: SchedulerSettings | None = None,
        generation_config: GenerationConfig | None = None,
        on_finish: FinishObserver | None = None,
    ) -> None:
        """Start to serve.

        Args:
            model: a GPTNeoForCausalLM, or an Engine.
            settings: how the engine is shared.
            generation_config: defaults of every request; by default the model's own.
            on_finish: called with the statistics of each request that has ended, by the
                scheduler's thread, which waits for it.
        """
        self.engine = Engine.of(model)
        self.settings = settings or SchedulerSettings()
        self._defaults = (
            generation_config or getattr(model, "generation_config", None) or GenerationConfig()
        )
        self._assistant = draft_engine(self.settings.draft, self.engine)
        self._on_finish = on_finish
        self._counters = Counters()
        self._counters_lock = threading.Lock()  # for what several threads count
        self._waiting = WaitingRequests(self.settings.max_waiting)
        self._prompts = PromptLane(self.engine, self.settings)
        drafts = Drafts(self.settings, self._assistant)
        self._turns = Turns(self.settings, self._waiting, self._counters, self._prompts, drafts)
        self._is_ending = False
        with self._exclusive():
            self._decoder()  # what does not fit into memory is noticed here
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)
        self._thread.start()

    def submit(
        self,
        *,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> TokenStream:
        """Add a request; return the stream of its events.

        Args:
            logprobs, prompt_logprobs, timeout: see RequestOptions.
            kwargs: arguments of generate(), for a single prompt.

        Raises:
            InputError: an argument cannot be used.
            QueueFullError: as many requests wait as may.
            SchedulerClosedError: close() was called.
        """
        options = RequestOptions(
            logprobs=logprobs, prompt_logprobs=prompt_logprobs, timeout=timeout
        )
        stream = TokenStream()
        stream.attach(self.submit_to(stream.deliver, options, **kwargs))
        return stream

    def submit_to(
        self, deliver: Callable[[Delivery], None], options: RequestOptions, **kwargs: Any
    ) -> Request:
        """Add a request whose events go to `deliver`, which the scheduler's thread calls.

        With max_new_tokens=0 and prompt_logprobs, nothing is generated.
        """
        if options.prompt_logprobs is not None and kwargs.get("max_new_tokens") == 0:
            prompt = sole_prompt(self.engine, kwargs.get("input_ids"))
            request = Request([prompt], None, options, deliver, self._ended)
        else:
            call = scheduled_call(self.engine, self._defaults, self.settings.slots, **kwargs)
            negative = call.guidance.prompts if call.guidance else ()
            request = Request([call.prompts[0].ids, *negative], call, options, deliver, self._ended)
        self._add(request)
        return request

    def _add(self, request: Request) -> None:
        try:
            self._waiting.put(request, self._turns.unclaimed)
        except QueueFullError:
            with self._counters_lock:
                self._counters.requests[Outcome.REFUSED] += 1
            raise

    def close(self, seconds: float = 0.0) -> None:
        """Take no more requests; wait that long for those that are there, then end them.

        Streams of those that are ended raise SchedulerClosedError after the tokens that they have.
        """
        self._waiting.close()
        is_own_thread = self._thread is threading.current_thread()
        if not is_own_thread:
            self._thread.join(seconds)
        self._is_ending = True
        if not is_own_thread:
            self._thread.join()

    def __enter__(self) -> "Scheduler":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs: until close(), and until an error that no request caused."""
        return self._thread.is_alive()

    @property
    def statistics(self) -> SchedulerStatistics:
        """What the scheduler does now, and what it did so far."""
        counters = dict(vars(self._counters)) | {"requests": dict(self._counters.requests)}
        prefixes = self._prompts.statistics
        return SchedulerStatistics(
            slots=self.settings.slots,
            slots_in_use=self.slots_in_use,
            waiting=self.waiting,
            running=self._turns.admitted,
            prefix_hits=prefixes.hits,
            prefix_misses=prefixes.lookups - prefixes.hits,
            prefix_bytes=prefixes.stored_bytes,
            **counters,
        )

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def slots_in_use(self) -> int:
        """Slots that are taken."""
        return self.settings.slots - len(self._turns.free)

    def _ended(self, statistics: RequestStatistics) -> None:
        """Count a request that has ended."""
        assert statistics.outcome is not None
        with self._counters_lock:
            self._counters.requests[statistics.outcome] += 1
        if self._on_finish is not None:
            self._on_finish(statistics)

    def _exclusive(self) -> AbstractContextManager[None]:
        """Enter the engines; other calls of them wait meanwhile."""
        engines = [self.engine] if self._assistant is None else [self.engine, self._assistant]
        return exclusive(*engines)

    def _decoder(self) -> Decoder:
        return self.engine.decoder(self.settings.slots + STAGING_SLOTS)

    def _serve(self) -> None:
        """Serve until the scheduler is closed and nothing is left; the thread's function."""
        try:
            while self._waiting.wait():
                with self._exclusive():
                    decoder = self._decoder()
                    while not self._turns.is_idle:
                        if self._is_ending:
                            self._turns.end(_closed())
                        self._turns.take(decoder)
        except BaseException as error:
            _log.exception("the scheduler was ended by an error")
            self._waiting.close(error)
            self._turns.end(error)


def _closed() -> SchedulerClosedError:
    return SchedulerClosedError("the scheduler was closed before the request was finished")
