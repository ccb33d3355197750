"""W3C's trace context: which trace a request belongs to.

Source: Trace Context Level 1, https://www.w3.org/TR/trace-context/.
"""

import re
import secrets
from dataclasses import dataclass

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


@dataclass(frozen=True)
class TraceContext:
    """The trace of a request.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: of the work here, 16 digits.
        parent_id: of the client's work; None if the client names no trace.
        flags: two digits, 01 where the client records the trace.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    flags: str = "00"

    @property
    def header(self) -> str:
        """The context as a header names it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def trace_context(header: str | None) -> TraceContext:
    """Return the context that the header traceparent names; a new trace if it names none."""
    found = _PARENT.fullmatch(header.strip()) if header else None
    span = secrets.token_hex(8)
    if found is None or not _is_valid(*found.groups()):
        return TraceContext(secrets.token_hex(16), span)
    return TraceContext(found[2], span, found[3], found[4])


def _is_valid(version: str, trace: str, parent: str, flags: str, rest: str | None) -> bool:
    """Return whether a header is one of this version, or of a later one, which may be longer."""
    is_known = version != "ff" and (version != "00" or rest is None)
    return is_known and trace != _NO_TRACE and parent != _NO_SPAN
