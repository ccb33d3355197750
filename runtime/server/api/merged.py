"""Several streams as one, and work that ends with its client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request

from gptneo_onnx.runtime.server.errors import ClientGoneError

Item = TypeVar("Item")
Result = TypeVar("Result")
Deliveries = asyncio.Queue[tuple[int, Item] | BaseException | None]


async def merged(
    streams: Sequence[AsyncGenerator[Item, None]],
) -> AsyncGenerator[tuple[int, Item], None]:
    """Yield the items of all streams as they come, each with its stream's number.

    Raises what a stream raises. The other streams are closed then, and when nobody iterates any
    more.
    """
    if len(streams) == 1:  # needs no tasks
        async with aclosing(streams[0]) as only:
            async for item in only:
                yield 0, item
        return
    queue: Deliveries[Item] = asyncio.Queue()
    passing = (_pass_on(number, stream, queue) for number, stream in enumerate(streams))
    tasks = [asyncio.create_task(each) for each in passing]
    remaining = len(tasks)
    try:
        while remaining:
            delivery = await queue.get()
            if isinstance(delivery, BaseException):
                raise delivery
            if delivery is None:
                remaining -= 1
            else:
                yield delivery
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(number: int, stream: AsyncIterator[Item], queue: "Deliveries[Item]") -> None:
    """Put a stream's items into the queue, then None, or what it raises."""
    try:
        async for item in stream:
            queue.put_nowait((number, item))
    except Exception as error:
        queue.put_nowait(error)
    else:
        queue.put_nowait(None)


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Return what the work returns; cancel it when the client closes the connection.

    Args:
        request: whose body has been read.
        work: what the client waits for.

    Raises:
        ClientGoneError: the client has gone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError("the client has gone")
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
