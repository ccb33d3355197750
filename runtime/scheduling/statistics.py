"""What requests and schedulers took, for whoever watches them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a request."""

    FINISHED = "finished"  # it has all of its tokens
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    REFUSED = "refused"  # too many were waiting


@dataclass
class RequestStatistics:
    """What a request took; times are time.perf_counter()'s, None until they come.

    Attributes:
        prompt_tokens: tokens of the prompt.
        cached_tokens: those of them that were not read again, since another prompt had begun alike.
        generated_tokens: tokens of all results so far.
        drafted_tokens, accepted_tokens: tokens that were looked up or drafted, and those of them
            that were right.
        arrived, admitted, first_token, finished: when the request came, when its prompt began to
            be read, when its first token was chosen, and when it ended, for whatever reason.
        outcome: why it ended; None until then.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    arrived: float = field(default_factory=time.perf_counter)
    admitted: float | None = None
    first_token: float | None = None
    finished: float | None = None
    outcome: Outcome | None = None


# Takes the statistics of a request that has ended.
FinishObserver = Callable[[RequestStatistics], None]


@dataclass(frozen=True, kw_only=True)
class SchedulerStatistics:
    """A scheduler at one moment; counters are totals since it was made.

    Attributes:
        slots: sequences that can be stepped together.
        slots_in_use: those of them that requests have taken.
        waiting: requests that wait for slots.
        running: requests whose prompts are read or whose tokens are generated.
        requests: how many requests ended in each way, or were refused.
        prompt_tokens: tokens of the prompts that were read to their end.
        cached_tokens: those of them that were not read again.
        generated_tokens: tokens of all results.
        drafted_tokens, accepted_tokens: tokens that were looked up or drafted, and those of them
            that were right.
        steps: steps of running requests.
        decode_seconds: the time that these took.
        prefill_seconds: the time that reading prompts took.
        prefix_hits, prefix_misses: prompts that began as a kept text does, and others that were
            looked up; negative prompts count too.
        prefix_bytes: memory that kept texts take.
    """

    slots: int
    slots_in_use: int
    waiting: int
    running: int
    requests: Mapping[Outcome, int]
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    steps: int
    decode_seconds: float
    prefill_seconds: float
    prefix_hits: int = 0
    prefix_misses: int = 0
    prefix_bytes: int = 0


class Counters:
    """The totals of a scheduler. Its thread writes them; others read them, each by itself right."""

    def __init__(self) -> None:
        self.requests = dict.fromkeys(Outcome, 0)
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generated_tokens = 0
        self.drafted_tokens = 0
        self.accepted_tokens = 0
        self.steps = 0
        self.decode_seconds = 0.0
        self.prefill_seconds = 0.0
