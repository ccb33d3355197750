"""Scheduler: many requests in the slots of one engine, stepped by one thread.

A turn of its loop admits a request, reads a chunk of a prompt, and decodes a token of every slot.
A request is served by arrival. What it gets is what generate() gives alone: its tokens depend on
its own scores and seed only, and those on nothing else in the batch (docs/precision.md).
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.scheduling.arguments import scheduled_call
from gptneo_onnx.runtime.scheduling.budget import StepBudget
from gptneo_onnx.runtime.scheduling.errors import QueueFullError, SchedulerClosedError
from gptneo_onnx.runtime.scheduling.generation_rows import RunningRequest
from gptneo_onnx.runtime.scheduling.prefill import STAGING_SLOTS, Prefill
from gptneo_onnx.runtime.scheduling.prompt_requests import PromptRequests
from gptneo_onnx.runtime.scheduling.prompt_results import sole_prompt
from gptneo_onnx.runtime.scheduling.request import Request, RequestOptions
from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings
from gptneo_onnx.runtime.scheduling.slots import FreeSlots
from gptneo_onnx.runtime.scheduling.statistics import (
    Counters,
    FinishObserver,
    Outcome,
    RequestStatistics,
    SchedulerStatistics,
)
from gptneo_onnx.runtime.scheduling.stream import Delivery, TokenStream

_CLOSED = "the scheduler was closed before the text was read or written to its end"


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
        self._on_finish = on_finish
        self._counters = Counters()
        self._condition = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._is_closed = False
        self._prefill: Prefill | None = None
        self._running: list[RunningRequest] = []
        self._free = FreeSlots(self.settings.slots)
        self._budget = StepBudget(self.settings.max_step_seconds, self.engine.prefill_chunk)
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
        with self._condition:
            if self._is_closed:
                raise SchedulerClosedError("the scheduler is closed, and takes no more requests")
            if len(self._waiting) >= self.settings.max_waiting and not self._is_idle:
                self._counters.requests[Outcome.REFUSED] += 1
                raise QueueFullError(
                    f"{len(self._waiting)} requests wait, and no more may; try again later"
                )
            self._waiting.append(request)
            self._condition.notify_all()

    def close(self, seconds: float = 0.0) -> None:
        """Take no more requests; wait that long for those that are there, then end them."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
        self._thread.join(seconds)
        with self._condition:
            for request in self._requests():
                request.cancel(SchedulerClosedError(_CLOSED))
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> "Scheduler":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def statistics(self) -> SchedulerStatistics:
        """What the scheduler does now, and what it did so far."""
        counters = dict(vars(self._counters)) | {"requests": dict(self._counters.requests)}
        return SchedulerStatistics(
            slots=self.settings.slots,
            slots_in_use=self.slots_in_use,
            waiting=self.waiting,
            running=len(self._running) + (self._prefill is not None),
            **counters,
        )

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def slots_in_use(self) -> int:
        """Slots that are taken."""
        return self.settings.slots - len(self._free)

    @property
    def _is_idle(self) -> bool:
        return not self._running and self._prefill is None and not self._waiting

    def _ended(self, statistics: RequestStatistics) -> None:
        """Count a request that has ended."""
        assert statistics.outcome is not None
        self._counters.requests[statistics.outcome] += 1
        self._counters.generated_tokens += statistics.generated_tokens
        if self._on_finish is not None:
            self._on_finish(statistics)

    def _requests(self) -> list[Request]:
        """Return all requests that are not finished."""
        reading = [self._prefill.request] if self._prefill else []
        return [*(each.request for each in self._running), *reading, *self._waiting]

    def _serve(self) -> None:
        """Serve until the scheduler is closed and nothing is left; the thread's function."""
        while True:
            with self._condition:
                while self._is_idle:
                    if self._is_closed:
                        return
                    self._condition.wait()
            with self.engine.exclusive():
                decoder = self.engine.decoder(self.settings.slots + STAGING_SLOTS)
                while not self._is_idle:
                    self._turn(decoder)

    def _turn(self, decoder: Decoder) -> None:
        self._drop_ended(decoder)
        self._admit(decoder)
        self._read_prompt(decoder)
        if self._running:
            self._decode(decoder)

    def _drop_ended(self, decoder: Decoder) -> None:
        """Free the slots of requests that were cancelled or are late."""
        for request in self._requests():
            if request.is_cancelled:
                request.finish_cancelled()
            elif request.is_late:
                request.time_out()
        with self._condition:
            self._waiting = deque(each for each in self._waiting if not each.is_finished)
        if self._prefill is not None and self._prefill.request.is_finished:
            self._free.free(self._prefill.slots)
            self._prefill = None
        self._remove_finished(decoder)

    def _admit(self, decoder: Decoder) -> None:
        """Begin to read the next request's prompt, if there are slots for it."""
        if self._prefill is not None:
            return
        with self._condition:
            if not self._waiting or self._waiting[0].slots > len(self._free):
                return
            request = self._waiting.popleft()
            slots = self._free.take(request.slots)
            staging = [*range(self.settings.slots, self.settings.slots + STAGING_SLOTS)]
            request.statistics.admitted = time.perf_counter()
            self._prefill = Prefill(request, slots, decoder, staging)

    def _read_prompt(self, decoder: Decoder) -> None:
        """Read a chunk of the prompt at hand; when it is read, let its request run."""
        if self._prefill is None:
            return
        prefill = self._prefill
        try:
            start = time.perf_counter()
            tokens = prefill.step(self._budget.chunk(bool(self._running)))
            seconds = time.perf_counter() - start
            self._budget.prefilled(tokens, seconds)
            self._counters.prefill_seconds += seconds
            if not prefill.is_done:
                return
            self._prefill = None
            self._counters.prompt_tokens += prefill.request.statistics.prompt_tokens
            self._counters.cached_tokens += prefill.request.statistics.cached_tokens
            if prefill.request.call is None:
                prefill.request.finish()
                return
            running = RunningRequest(prefill.request, prefill.slots)
            self._running.append(running)
            self._reorder(decoder, running.advance(prefill.hand_over()))
            self._remove_finished(decoder)
        except Exception as error:  # one request's failure is its own
            prefill.request.finish(error)
            if self._prefill is prefill:
                self._prefill = None
                self._free.free(prefill.slots)
            self._remove_finished(decoder)

    def _decode(self, decoder: Decoder) -> None:
        """Decode a token of every active slot, and let each request choose by its logits."""
        stepped = 1 + max(max(each.slots) for each in self._running)
        tokens, active = np.zeros(stepped, np.int64), np.zeros(stepped, np.bool_)
        for each in self._running:
            tokens[each.slots] = each.tokens
            active[each.slots] = each.active
        start = time.perf_counter()
        try:
            logits = decoder.decode(tokens, active)
        except Exception as error:
            for each in self._running:
                each.request.finish(error)
            self._remove_finished(decoder)
            return
        seconds = time.perf_counter() - start
        self._budget.decoded(seconds)
        self._counters.decode_seconds += seconds
        self._counters.steps += 1
        self._advance(decoder, logits)
        self._remove_finished(decoder)

    def _advance(self, decoder: Decoder, logits: Logits) -> None:
        sources: dict[int, int] = {}
        for each in self._running:
            try:
                sources |= each.advance(logits[each.slots])
            except Exception as error:  # one request's failure is its own
                each.request.finish(error)
        self._reorder(decoder, sources)

    def _reorder(self, decoder: Decoder, sources: dict[int, int]) -> None:
        if sources:
            order = np.arange(decoder.cache.slots)
            order[[*sources]] = [*sources.values()]
            decoder.cache.reorder(order)

    def _remove_finished(self, decoder: Decoder) -> None:
        """Free the slots of running requests that are finished."""
        for each in list(self._running):
            if not each.active.any():
                each.request.finish()
            if each.request.is_finished:
                self._running.remove(each)
                self._free.free(each.slots)
                for slot in each.slots:
                    decoder.cache.clear(slot)
