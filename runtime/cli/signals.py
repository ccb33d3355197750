"""How signals end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

The first one raises an exception in the main thread, so that what is half written is removed as
after any failure; further ones are ignored meanwhile. Python raises it between two byte codes of
the main thread, which may be far apart: a call of ONNX Runtime lasts as long as it lasts. So a
second thread is woken by signals too. If the command has not ended GRACE_S after SIGTERM, SIGHUP or
the second SIGINT, it removes what is half written and ends the process. (ONNX Runtime 1.30 keeps
all threads waiting while it makes a session; later releases do not.)

A server ends otherwise: within first_passed_to() the first signal is given to a function, and
raises nothing; the next one is handled as above.

A signal that was ignored when the command began stays ignored, as nohup and shells want it.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from gptneo_onnx.models.interruption import remove_half_written, stop_and_remove

GRACE_S = 2.0
_CLEAN_UP_S = 5.0  # a disk may be slow; one that hangs must not hold the process
_RETRY_S = 0.05
_AGAIN = 0  # what the thread is sent, instead of a signal's number, to send the signal again

_current: "EndingBySignals | None" = None


class EndingBySignals:
    """In this context a signal ends the command, by KeyboardInterrupt or SystemExit(128 + number).

    In other threads than the main one, where Python handles no signals, it does nothing.

    Attributes:
        received: the signal that ends the command; None if there was none.
        may_go_on: whether SIGINT only stops what is done at the moment, as in an interactive
            session. Each one raises KeyboardInterrupt then.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.may_go_on = False
        self._is_over = False
        self._handled = 0  # signals that the main thread has handled
        self._resent = 0  # signals of the other thread that it has not read yet
        self._put_off: int | None = None
        self._first_to: Callable[[int], None] | None = None
        self._unwatched = 0  # signals that the other thread leaves to that function
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "EndingBySignals":
        global _current
        if threading.current_thread() is not threading.main_thread():
            return self
        _current = self
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        self._wakeup_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        for number in _numbers():
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _current
        self._is_over = True
        if _current is not self:
            return
        remove_half_written()
        if self.received is not None:  # while the thread watches: a full pipe may block it
            _flush()
        _current = None
        sys.unraisablehook = self._hook_before
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup_before)
        self._waker.close()  # which ends the thread

    def pass_first(self, take: Callable[[int], None] | None) -> None:
        """Give the next signal to a function, in the main thread; None ends that."""
        self._first_to = take
        self._unwatched = 0 if take is None else 1

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first_to is not None:
            take, self._first_to = self._first_to, None
            take(number)
            return
        self._handled += 1
        is_repeated, self._put_off = number == self._put_off, None
        if self._is_over:
            self.received = self.received or number
            return
        if self.received is not None and not is_repeated:
            return
        goes_on = number == signal.SIGINT and self.may_go_on and self.received is None
        if not goes_on:
            self.received = number
        if _is_importing_c(frame):
            self._repeat(number)
            return
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def _repeat(self, number: int) -> None:
        """Have the other thread send a signal again in a moment."""
        self._put_off = number
        with suppress(OSError):
            self._waker.send(bytes([_AGAIN]))

    def _watch(self) -> None:
        """End the process if the main thread does not: the body of the other thread."""
        deadline, last, handled = None, 0, -1
        with self._woken:
            while True:
                wait_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                if select.select([self._woken], [], [], wait_s)[0]:
                    received = self._woken.recv(1)
                    if not received:
                        return
                    number = received[0]
                    if number == _AGAIN:
                        self._send_again()
                    elif self._unwatched:
                        self._unwatched -= 1
                    elif self._resent:
                        self._resent -= 1
                    elif number == signal.SIGINT and self._is_first(handled):
                        handled = self._handled
                    elif number in self._before and deadline is None:
                        deadline, last = time.monotonic() + GRACE_S, number
                elif last == signal.SIGINT and self.may_go_on and self._handled > handled:
                    deadline = None  # a session stopped what it did
                else:
                    _end_at_once(last)

    def _is_first(self, handled: int) -> bool:
        """Return whether a SIGINT is the first, or the first since a session handled the last."""
        return handled < 0 or (self.may_go_on and self._handled > handled)

    def _send_again(self) -> None:
        """Send a signal again that came at a moment when nothing may be raised."""
        time.sleep(_RETRY_S)
        number = self._put_off
        if number is not None and not self._is_over:
            self._resent += 1
            signal.raise_signal(number)

    def _unraisable(self, unraisable: Any) -> None:
        """Have the signal sent again whose exception was raised where Python drops exceptions."""
        is_ours = issubclass(unraisable.exc_type, (KeyboardInterrupt, SystemExit))
        if self.received is not None and is_ours:
            self._repeat(self.received)
        else:
            self._hook_before(unraisable)


def _is_importing_c(frame: FrameType | None) -> bool:
    """Return whether a module in C is being imported.

    Those that call Python meanwhile may print an exception, and raise ImportError instead of it.
    """
    while frame is not None:
        if frame.f_code.co_qualname.startswith("ExtensionFileLoader."):
            return True
        frame = frame.f_back
    return False


def _end_at_once(number: int) -> None:
    """Remove what is half written, and end the process; the main thread goes on meanwhile."""
    cleaner = threading.Thread(target=stop_and_remove, args=(_CLEAN_UP_S,), daemon=True)
    cleaner.start()
    cleaner.join(_CLEAN_UP_S)
    os._exit(128 + number)


@contextmanager
def going_on() -> Iterator[None]:
    """In this context SIGINT stops what is done at the moment, and not the command.

    A KeyboardInterrupt that leaves the context ends the command.
    """
    ending = _current
    if ending is None:
        yield
        return
    ending.may_go_on = True
    try:
        yield
    except KeyboardInterrupt:
        ending.received = int(signal.SIGINT)
        raise
    finally:
        ending.may_go_on = False


@contextmanager
def first_passed_to(take: Callable[[int], None]) -> Iterator[None]:
    """In this context the first signal is given to `take`, in the main thread, and raises nothing.

    Further ones end the command. Where this module handles no signals, nothing is given.
    """
    ending = _current
    if ending is None:
        yield
        return
    ending.pass_first(take)
    try:
        yield
    finally:
        ending.pass_first(None)


def end_process(received: int | None) -> None:
    """Leave signals to the system; end the process by the one that ended the command, if any.

    Shells end a loop, and make a build, if a command was ended by SIGINT, but not if it exits with
    status 130. The status that they show is 130 in either case.
    """
    for number in _numbers():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if received is not None and sys.platform != "win32":
        _flush()
        os.kill(os.getpid(), received)


def _numbers() -> list[int]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [int(getattr(signal, name)) for name in names if hasattr(signal, name)]  # not on Windows


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()


def _after_fork() -> None:
    """Leave signals to the system in a child process: the sockets are its parent's."""
    global _current
    if _current is not None:
        signal.set_wakeup_fd(-1)
        for number in _current._before:
            signal.signal(number, signal.SIG_DFL)
        _current._is_over = True
        _current = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
