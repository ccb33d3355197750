"""A request's events on their way to whoever asked: a thread, or a coroutine."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gptneo_onnx.runtime.scheduling.events import Event
from gptneo_onnx.runtime.scheduling.statistics import RequestStatistics


@dataclass(frozen=True)
class End:
    """The end of a stream; with what the request failed with, if it did."""

    error: BaseException | None = None


Delivery = Sequence[Event] | End


class Cancellable(Protocol):
    """What a stream knows of its request."""

    statistics: RequestStatistics

    def cancel(self) -> None:
        """Free the request's slots at the next step."""


class TokenStream:
    """The events of a request, for a thread that iterates over them.

        with scheduler.submit(input_ids=[ids], max_new_tokens=20) as stream:
            for event in stream: ...

    Leaving the block cancels what is left. Iterating raises what the request failed with.
    """

    def __init__(self) -> None:
        self._deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._request: Cancellable | None = None

    def deliver(self, delivery: Delivery) -> None:
        """Take events, from any thread."""
        self._deliveries.put(delivery)

    def attach(self, request: Cancellable) -> None:
        """Take the request that this is the stream of."""
        self._request = request

    @property
    def statistics(self) -> RequestStatistics:
        """What the request took so far."""
        assert self._request is not None
        return self._request.statistics

    def cancel(self) -> None:
        """End the request at the next step; what it has chosen so far is still yielded."""
        assert self._request is not None
        self._request.cancel()

    def __iter__(self) -> Iterator[Event]:
        while True:
            delivery = self._deliveries.get()
            if isinstance(delivery, End):
                self._deliveries.put(delivery)  # for whoever iterates again
                if delivery.error is not None:
                    raise delivery.error
                return
            yield from delivery

    def __enter__(self) -> "TokenStream":
        return self

    def __exit__(self, *exception: object) -> None:
        self.cancel()


class AsyncTokenStream:
    """The events of a request, for a coroutine of the loop that made the stream.

    Attributes:
        is_enough: whether who cancels it has what was asked for, as after a stop text.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deliveries: asyncio.Queue[Delivery] = asyncio.Queue()
        self._request: Cancellable | None = None
        self.is_enough = False

    def deliver(self, delivery: Delivery) -> None:
        """Take events, from any thread; once the loop is closed, the request is cancelled."""
        call: Callable[[Delivery], None] = self._deliveries.put_nowait
        try:
            self._loop.call_soon_threadsafe(call, delivery)
        except RuntimeError:  # the loop is closed
            if self._request is not None:
                self._request.cancel()

    def attach(self, request: Cancellable) -> None:
        """Take the request that this is the stream of."""
        self._request = request

    @property
    def statistics(self) -> RequestStatistics:
        """What the request took so far."""
        assert self._request is not None
        return self._request.statistics

    def cancel(self) -> None:
        """End the request at the next step."""
        assert self._request is not None
        self._request.cancel()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            delivery = await self._deliveries.get()
            if isinstance(delivery, End):
                self._deliveries.put_nowait(delivery)
                if delivery.error is not None:
                    raise delivery.error
                return
            for event in delivery:
                yield event
