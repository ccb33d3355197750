"""A connection whose client may take only so long to send a request's head, or to read an answer.

uvicorn bounds the time between two requests, but neither the time of the first head nor that of
a head that comes byte by byte (slow-loris), and it waits without end for a client that reads
nothing. Where no file can be opened any more, asyncio tries to accept connections again and again,
and logs each time: so there are never more connections than files allow.
"""

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gptneo_onnx.runtime.server.errors import error_response

HEAD_S = 10.0
READ_S = 60.0
# As many connections are accepted at once, before one of them is looked at.
BACKLOG = 128
# Models, logs, and connections that are accepted or refused, and not closed yet.
_OTHER_FILES = 64 + 3 * BACKLOG
_FEWEST, _MOST = 32, 4096
_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


def most_connections() -> int:
    """Return how many connections the process may have; raise its limit of open files for them."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return _MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    wanted = _MOST + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(_FEWEST, min(_MOST, int(soft) - _OTHER_FILES))


class Connection(H11Protocol):
    """A connection of HTTP/1.1.

    Attributes:
        most: connections at the same time; one more is answered with 503, and closed.
        head_seconds: in which the head of a request must come, from its first byte or, for the
            first request, from the connection's begin.
        read_seconds: in which a client must read what was sent to it.
    """

    most = _MOST
    head_seconds = HEAD_S
    read_seconds = READ_S

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse(503, "there are too many connections; try again later", "overloaded")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop(self._head_timer)
        self._stop(self._read_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head must be complete in time."""
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        """Go on with what the client has sent meanwhile."""
        super().on_response_complete()
        self._watch_head()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._stop(self._read_timer)
        self._read_timer = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting for the client to read."""
        self._stop(self._read_timer)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used; at once if the client has not read all."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.read_seconds, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, in the form of other errors, and close."""
        error = sys.exception()
        status = getattr(error, "error_status_hint", 400)
        what = f"the request is not valid HTTP: {error}" if error else msg
        self._refuse(status, what, "invalid_http")

    def _watch_head(self) -> None:
        is_idle = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not is_idle:
            self._stop(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None and self.conn.trailing_data[0]:
            self._await_head()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        seconds = f"{self.head_seconds:g} seconds"
        self._refuse(408, f"the head of the request did not arrive in {seconds}", "request_timeout")

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Send an error without the state of h11, which may allow nothing any more; close."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering:
            body = bytes(error_response(status, message, code=code).body)
            reason = _REASONS.get(status, b"Bad Request")
            self.transport.write(
                b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                b"Connection: close\r\n\r\n%s" % (status, reason, len(body), body)
            )
        self.transport.close()
        self.loop.call_later(self.read_seconds, self.transport.abort)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
