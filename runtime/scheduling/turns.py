"""What the scheduler's thread does in a turn: admit, read prompts, decode a token of every slot.

One request's failure is its own: whatever its processors raise ends it alone, and a step that fails
ends what was in it.
"""

import time
from collections.abc import Iterator

import numpy as np

from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.device import CPU
from gptneo_onnx.runtime.scheduling.budget import StepBudget
from gptneo_onnx.runtime.scheduling.drafts import Drafts
from gptneo_onnx.runtime.scheduling.prefill import Prefill
from gptneo_onnx.runtime.scheduling.prompt_lane import PromptLane
from gptneo_onnx.runtime.scheduling.request import Request
from gptneo_onnx.runtime.scheduling.running import RunningRequest
from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings
from gptneo_onnx.runtime.scheduling.slots import FreeSlots
from gptneo_onnx.runtime.scheduling.statistics import Counters
from gptneo_onnx.runtime.scheduling.waiting import WaitingRequests

# Moving a sequence to a lower slot costs as much as a slot does in _MOVE_STEPS steps, and in one
# more step for every _TOKENS_PER_MOVE_STEP tokens of the sequence.
_MOVE_STEPS, _TOKENS_PER_MOVE_STEP = 4, 32


class Turns:
    """The requests that an engine is at work on.

    Attributes:
        free: slots that no request has.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        waiting: WaitingRequests,
        counters: Counters,
        prompts: PromptLane,
        drafts: Drafts,
    ) -> None:
        self.free = FreeSlots(settings.slots)
        self._waiting = waiting
        self._counters = counters
        self._prompts = prompts
        self._drafts = drafts
        self._budget = StepBudget(settings.max_step_seconds)
        self._reading: Prefill | None = None
        self._running: list[RunningRequest] = []

    @property
    def is_idle(self) -> bool:
        """Whether no request is there, not even a waiting one."""
        return not self._running and self._reading is None and not len(self._waiting)

    @property
    def unclaimed(self) -> int:
        """Slots that are free, but for those that the request being read will take."""
        reading = self._reading
        return len(self.free) - (0 if reading is None else reading.request.slots)

    @property
    def admitted(self) -> int:
        """Requests whose prompts are read, or whose tokens are generated."""
        return len(self._running) + (self._reading is not None)

    def take(self, decoder: Decoder) -> None:
        """Take a turn."""
        self._drop_due(decoder)
        self._read_prompts(decoder)
        if self._running:
            self._decode(decoder)
            self._prompts.keep(self._running, decoder)
            self._remove_finished(decoder)
            self._close_up(decoder)
        for each in self._running:
            each.request.flush()

    def end(self, error: BaseException) -> None:
        """End all requests, those that wait too."""
        for request in self._requests():
            request.finish(error)

    def _requests(self) -> Iterator[Request]:
        for running in self._running:
            yield running.request
        if self._reading is not None:
            yield self._reading.request
        yield from self._waiting.all()

    def _drop_due(self, decoder: Decoder) -> None:
        """Free the slots of requests that were cancelled, or are late."""
        now, is_any_finished = time.perf_counter(), False
        for request in self._requests():
            request.end_if_due(now)
            is_any_finished |= request.is_finished
        if is_any_finished:
            self._waiting.drop_finished()
            if self._reading is not None and self._reading.request.is_finished:
                self._reading.close()
                self._reading = None
            self._remove_finished(decoder)

    def _read_prompts(self, decoder: Decoder) -> None:
        """Read chunks of the prompts, by arrival, as long as the running requests may wait.

        While all slots are taken, the next prompt is read already.
        """
        started = time.perf_counter()
        spent = 0.0
        while self._reading is not None or self._begin_reading(decoder):
            reading = self._reading
            assert reading is not None
            try:
                if not reading.is_done and not self._read_chunk(reading, spent):
                    return
                if not reading.is_done:
                    if not self._running:  # nobody waits but whoever may cancel
                        return
                elif not self._let_run(decoder, reading):
                    return
            except BaseException as error:  # one request's failure is its own
                reading.request.finish(error)
                reading.close()
                self._reading = None
                self._remove_finished(decoder)
            spent = time.perf_counter() - started

    def _begin_reading(self, decoder: Decoder) -> bool:
        """Begin to read the prompt of the request that came first; return whether there is one."""
        while self._waiting.next() is not None:
            request = self._waiting.take()
            request.statistics.admitted = time.perf_counter()
            try:
                self._reading = self._prompts.begin(request, decoder)
            except BaseException as error:  # one request's failure is its own
                request.finish(error)
            else:
                return True
        return False

    def _read_chunk(self, reading: Prefill, spent: float) -> bool:
        """Read a chunk, if there is time; return whether there was."""
        start = time.perf_counter()
        chunks = reading.chunks()
        tokens = self._budget.fitting(chunks, spent) if self._running else chunks[-1]
        if not tokens:
            return False
        reading.step(tokens)
        seconds = time.perf_counter() - start
        self._budget.prefilled(tokens, seconds)
        self._counters.prefill_seconds += seconds
        return True

    def _let_run(self, decoder: Decoder, reading: Prefill) -> bool:
        """Give a request whose prompt is read its slots, and its first token; or wait for slots."""
        request = reading.request
        if request.slots > len(self.free):
            return False
        self._reading = None
        self._counters.prompt_tokens += request.statistics.prompt_tokens
        self._counters.cached_tokens += request.statistics.cached_tokens
        if request.call is None:
            request.finish()
            return True
        reading.slots = self.free.take(request.slots)
        try:
            running = RunningRequest(request, reading.slots)
        except BaseException:
            self.free.free(reading.slots)
            raise
        self._running.append(running)
        logits = reading.hand_over()
        self._reorder(decoder, self._choose(running, logits, is_finite=False))
        request.flush()  # other prompts may be read before the next step
        self._remove_finished(decoder)
        return True

    def _decode(self, decoder: Decoder) -> None:
        """Decode a token of every active slot, and let each request choose by its logits."""
        is_reading = self._reading is not None and not self._reading.is_done
        if len(self._running) == 1 and not is_reading and self._draft(decoder):
            return
        step = [pair for each in self._running for pair in each.next_tokens()]
        tokens = np.zeros(1 + max(slot for slot, _ in step), np.int64)
        active = np.zeros(len(tokens), np.bool_)
        for slot, token in step:
            tokens[slot], active[slot] = token, True
        start = time.perf_counter()
        try:
            logits = decoder.decode(tokens, active)
        except Exception as error:
            self._fail_running(error)
            return
        self._count_step(time.perf_counter() - start)
        self._advance(decoder, logits)
        self._budget.decoded(time.perf_counter() - start)

    def _draft(self, decoder: Decoder) -> bool:
        """Check what may follow the only sequence, in one step; return whether there was any."""
        [running] = self._running
        start = time.perf_counter()
        try:
            proposed = self._drafts.propose(running, decoder)
            if not proposed:
                return False
            accepted, error = self._drafts.check(running, proposed, decoder, self._choose)
        except Exception as failure:
            self._fail_running(failure)
            return True
        self._count_step(time.perf_counter() - start)
        for counts in (self._counters, running.request.statistics):
            counts.drafted_tokens += len(proposed)
            counts.accepted_tokens += accepted
        if error is not None:
            running.request.finish(error)
        return True

    def _fail_running(self, error: Exception) -> None:
        """End the requests of a step that failed."""
        for each in self._running:
            each.request.finish(error)

    def _count_step(self, seconds: float) -> None:
        self._counters.decode_seconds += seconds
        self._counters.steps += 1

    def _advance(self, decoder: Decoder, logits: Logits) -> None:
        """Let each request choose by the logits [slots, vocab] of a step."""
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = np.isfinite(logits.sum(axis=1))
        sources: dict[int, int] = {}
        for each in self._running:
            try:
                own = each.logits_of(logits)
                sources |= self._choose(each, own, bool(is_finite[each.slots].all()))
            except BaseException as error:  # one request's failure is its own
                each.request.finish(error)
        self._reorder(decoder, sources)

    def _choose(self, running: RunningRequest, logits: Logits, is_finite: bool) -> dict[int, int]:
        """Let a request choose; see RunningRequest.advance."""
        before = running.request.statistics.generated_tokens
        try:
            return running.advance(logits, is_finite)
        finally:
            after = running.request.statistics.generated_tokens
            self._counters.generated_tokens += after - before

    def _reorder(self, decoder: Decoder, sources: dict[int, int]) -> None:
        """Give slots the sequences of others."""
        if sources:
            order = np.arange(decoder.cache.slots)
            order[[*sources]] = [*sources.values()]
            decoder.cache.reorder(order)

    def _remove_finished(self, decoder: Decoder) -> None:
        """Free the slots of rows and requests that are finished."""
        for each in [*self._running]:
            if not each.request.is_finished and each.is_finished:
                each.request.finish()
            is_over = each.request.is_finished
            slots = each.slots if is_over else each.release_finished()
            if is_over:
                self._running.remove(each)
            self.free.free(slots)
            for slot in slots:
                decoder.cache.clear(slot)

    def _close_up(self, decoder: Decoder) -> None:
        """Move sequences down from the highest slots, where that shortens enough steps.

        A step takes all slots up to the highest one in use. Where others wait, they fill the holes.
        """
        in_use = self.free.count - len(self.free)
        if self.free.lowest == in_use or decoder.device != CPU:
            return
        if len(self._waiting) or self._reading is not None:
            return
        sources: dict[int, int] = {}
        while self._running:
            each = max(self._running, key=lambda running: max(running.slots))
            top, hole = max(each.slots), self.free.lowest
            cost = _MOVE_STEPS + int(decoder.cache.lengths[top]) // _TOKENS_PER_MOVE_STEP
            if hole > top or each.rows.remaining < cost:
                break
            [hole] = self.free.take(1)
            self.free.free([top])
            each.move(top, hole)
            sources[hole] = sources.pop(top, top)
        self._reorder(decoder, sources)
        for slot in set(sources.values()) - set(sources):
            decoder.cache.clear(slot)
