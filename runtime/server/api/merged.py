"""Several streams as one, and work that ends with its client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from typing import TypeVar

from fastapi import Request

from gptneo_onnx.runtime.server.errors import ClientGoneError

Item = TypeVar("Item")
Result = TypeVar("Result")


async def merged(
    streams: Sequence[AsyncIterator[Item]],
) -> AsyncGenerator[tuple[int, Item], None]:
    """Yield the items of all streams as they come, each with its stream's number.

    Raises what a stream raises. The other streams are closed then, and when nobody iterates any
    more.
    """
    queue: asyncio.Queue[tuple[int, Item] | BaseException | None] = asyncio.Queue()

    async def pass_on(number: int, stream: AsyncIterator[Item]) -> None:
        try:
            async for item in stream:
                queue.put_nowait((number, item))
        except Exception as error:
            queue.put_nowait(error)
        else:
            queue.put_nowait(None)

    tasks = [asyncio.create_task(pass_on(*each)) for each in enumerate(streams)]
    remaining = len(tasks)
    try:
        while remaining:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                remaining -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
