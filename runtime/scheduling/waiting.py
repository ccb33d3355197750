"""The requests that wait for slots, in the order in which they came."""

import threading
from collections import deque

from gptneo_onnx.runtime.scheduling.errors import QueueFullError, SchedulerClosedError
from gptneo_onnx.runtime.scheduling.request import Request


class WaitingRequests:
    """A queue that any thread adds to, and the scheduler's thread takes from.

    A request waits if those before it and itself need more slots than are free: a queue for 0
    requests takes as many as can be admitted at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._condition = threading.Condition()
        self._requests: deque[Request] = deque()
        self._is_closed = False
        self._closed_by: BaseException | None = None

    def __len__(self) -> int:
        return len(self._requests)

    def put(self, request: Request, free: int) -> None:
        """Add a request.

        Args:
            request: what came.
            free: slots that are free.

        Raises:
            QueueFullError: as many wait as may.
            SchedulerClosedError: close() was called.
        """
        with self._condition:
            if self._is_closed:
                raise self._refusal() from self._closed_by
            if self._waiting_with(request, free) > self._most:
                raise QueueFullError(
                    f"{len(self._requests)} requests wait, and at most {self._most} may; try again "
                    "later"
                )
            self._requests.append(request)
            self._condition.notify_all()

    def wait(self) -> bool:
        """Wait for a request; return False once all are served and no more may come."""
        with self._condition:
            while not self._requests and not self._is_closed:
                self._condition.wait()
            return bool(self._requests)

    def next(self) -> Request | None:
        """Return the request that came first, without taking it; None if none waits."""
        return self._requests[0] if self._requests else None

    def take(self) -> Request:
        """Take the request that came first."""
        with self._condition:
            return self._requests.popleft()

    def all(self) -> list[Request]:
        """Return all of them."""
        with self._condition:
            return [*self._requests]

    def drop_finished(self) -> None:
        """Drop those that were finished without being served."""
        with self._condition:
            self._requests = deque(each for each in self._requests if not each.is_finished)

    def close(self, error: BaseException | None = None) -> None:
        """Take no more requests; `error` is what ended the scheduler, if anything did."""
        with self._condition:
            self._is_closed = True
            self._closed_by = self._closed_by or error
            self._condition.notify_all()

    def _waiting_with(self, request: Request, free: int) -> int:
        """Return how many requests would wait if this one was added."""
        waiting = 0
        for each in (*self._requests, request):
            needed = max(1, each.slots)  # a prompt to be read, and no more, takes its turn too
            if waiting == 0 and needed <= free:
                free -= needed
            else:  # those after it wait too, whatever they need
                waiting += 1
        return waiting

    def _refusal(self) -> SchedulerClosedError:
        if self._closed_by is None:
            return SchedulerClosedError("the scheduler is closed, and takes no more requests")
        return SchedulerClosedError(
            f"the scheduler was ended by an error: {self._closed_by}; make another one"
        )
