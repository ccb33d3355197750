"""A request: what was asked for, and how far it is."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.generation.call import GenerationCall
from gptneo_onnx.runtime.scheduling.errors import RequestTimeoutError, SchedulerClosedError
from gptneo_onnx.runtime.scheduling.events import Event, TokenEvent
from gptneo_onnx.runtime.scheduling.pooled_states import PooledStates
from gptneo_onnx.runtime.scheduling.statistics import FinishObserver, Outcome, RequestStatistics
from gptneo_onnx.runtime.scheduling.stream import Delivery, End

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """What a request asks of the scheduler, beside generate()'s arguments.

    Attributes:
        logprobs: how many of the likeliest tokens to name beside each token's log probability;
            None for no log probabilities.
        prompt_logprobs: the same for the prompt's tokens.
        timeout: seconds after its arrival in which the request must be finished.

    Raises:
        InputError: a value is out of range.
    """

    logprobs: int | None = None
    prompt_logprobs: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        for name in ("logprobs", "prompt_logprobs"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise InputError(
                    f"{name} is {shown(value)}; a whole number of at least 0 is allowed, or None"
                )
        timeout = self.timeout
        is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
        if timeout is not None and not (is_number and timeout > 0):
            raise InputError(
                f"timeout is {shown(timeout)}; a number of seconds above 0 is allowed, or None"
            )


class Request:
    """A request, from its arrival to its last token.

    Attributes:
        prompts: the texts to be read, int64 [length] each: the prompt, and a negative one after it.
        call: what to generate; None if only the prompt is to be read.
        pooled: takes the prompt's hidden states; None if they are not asked for.
        options: what else is asked for.
        statistics: what it took so far.
        is_cancelled: whether nobody waits for it any more.
        is_read: whether all prompts have been read.
        is_finished: whether its stream has ended.
    """

    def __init__(
        self,
        prompts: Sequence[Ids],
        call: GenerationCall | None,
        options: RequestOptions,
        deliver: Callable[[Delivery], None],
        on_finish: FinishObserver | None = None,
        pooled: PooledStates | None = None,
    ) -> None:
        self.prompts = prompts
        self.call = call
        self.options = options
        self.statistics = RequestStatistics(prompt_tokens=len(prompts[0]))
        self.is_cancelled = False
        self.is_finished = False
        self.is_read = False
        self.pooled = pooled
        self._unsent: list[Event] = []
        self._deliver = deliver
        self._on_finish = on_finish

    @property
    def slots(self) -> int:
        """Slots that the request takes once its prompt is read."""
        if self.call is None:
            return 0
        return self.call.repeats * len(self.prompts)

    def end_if_due(self, now: float) -> None:
        """End the stream of a request that was cancelled, or whose time is over.

        Args:
            now: time.perf_counter()'s.
        """
        timeout = self.options.timeout
        if self.is_cancelled:
            self.finish()
        elif timeout is not None and now - self.statistics.arrived > timeout:
            self.finish(RequestTimeoutError(f"the request was not finished in {timeout:g} seconds"))

    def cancel(self) -> None:
        """Free the request's slots at the next step."""
        self.is_cancelled = True

    def send(self, events: Sequence[Event]) -> None:
        """Have events delivered by the next flush()."""
        tokens = sum(isinstance(event, TokenEvent) for event in events)
        if tokens and self.statistics.first_token is None:
            self.statistics.first_token = time.perf_counter()
        self.statistics.generated_tokens += tokens
        self._unsent += events

    def flush(self) -> None:
        """Deliver what was sent.

        Readers that wake up take their turn in the interpreter: best while a step runs.
        """
        if self._unsent:
            events, self._unsent = self._unsent, []
            self._hand_out(events)

    def finish(self, error: BaseException | None = None) -> None:
        """End the stream."""
        if self.is_finished:
            return
        self.is_finished = True
        self.statistics.finished = time.perf_counter()
        self.statistics.outcome = self._outcome(error)
        self.flush()
        self._hand_out(End(error))
        if self._on_finish is not None:
            try:
                self._on_finish(self.statistics)
            except BaseException:  # whoever counts requests must not end them
                _log.exception("a request was finished, and on_finish failed")

    def _outcome(self, error: BaseException | None) -> Outcome:
        if isinstance(error, RequestTimeoutError):
            return Outcome.TIMED_OUT
        if isinstance(error, SchedulerClosedError):
            return Outcome.CANCELLED
        if error is not None:
            return Outcome.FAILED
        return Outcome.CANCELLED if self.is_cancelled else Outcome.FINISHED

    def _hand_out(self, delivery: Delivery) -> None:
        """Deliver something; a request whose events nobody takes is cancelled."""
        try:
            self._deliver(delivery)
        except BaseException:
            self.is_cancelled = True
            _log.exception("a request's events could not be delivered: it is cancelled")
