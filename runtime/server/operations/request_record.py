"""What is known of a request while it is answered, for its line in the log."""

import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import Scope

from gptneo_onnx.runtime.scheduling import RequestStatistics
from gptneo_onnx.runtime.server.operations.trace_context import TraceContext

# What others may name a request: printable, and short enough for a log.
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_KEY = "gptneo_onnx.record"


@dataclass
class RequestRecord:
    """A request of HTTP.

    Attributes:
        id: the client's name for it, or one that was made.
        trace: W3C's trace context.
        began: when it came, by time.perf_counter().
        key: the fingerprint of the key that it names.
        model: the name of the model that it is for.
        served: what the requests to the scheduler took that it led to.
        read_tokens: of texts that were only read, as for vectors.
        status: of the answer; 499 if the client left before it began.
    """

    id: str
    trace: TraceContext
    began: float = field(default_factory=time.perf_counter)
    key: str | None = None
    model: str | None = None
    served: list[RequestStatistics] = field(default_factory=list)
    read_tokens: int = 0
    status: int = 499

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return self.read_tokens + sum(each.prompt_tokens for each in self.served)

    @property
    def cached_tokens(self) -> int:
        """Those of them that were not read again."""
        return sum(each.cached_tokens for each in self.served)

    @property
    def generated_tokens(self) -> int:
        """Tokens of all results."""
        return sum(each.generated_tokens for each in self.served)

    @property
    def queue_seconds(self) -> float:
        """How long the prompt that waited longest has waited."""
        now = time.perf_counter()
        waits = [(each.admitted or each.finished or now) - each.arrived for each in self.served]
        return max(waits, default=0.0)


current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)


def record_of(scope: Scope) -> RequestRecord:
    """Return a request's record, which the outermost middleware has made."""
    record: RequestRecord = scope["state"][_KEY]
    return record


def begin_record(scope: Scope, named: str | None, trace: TraceContext) -> RequestRecord:
    """Make a request's record, by the id that the client names, if it can be printed."""
    is_sane = named is not None and _SANE_ID.fullmatch(named)
    record = RequestRecord(named if named and is_sane else secrets.token_hex(16), trace)
    scope.setdefault("state", {})[_KEY] = record
    return record
