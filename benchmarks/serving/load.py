"""Sends requests to a server, and measures what its users wait for."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from serving.http_stream import Answer, stream_completion
from serving.workload import Work

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Target:
    """A server to send requests to.

    Attributes:
        url: its address.
        fields: what each request to it has besides prompt and length.
    """

    url: str
    fields: dict[str, Any]

    async def send(self, work: Work) -> Answer:
        body = {"prompt": work.prompt, "max_tokens": work.max_tokens, "temperature": 0}
        return await stream_completion(self.url, body | self.fields)


async def by_clients(target: Target, work: Sequence[Work], clients: int) -> dict[str, Any]:
    """Measure clients each of which sends its next request once the last one is answered."""
    left = iter(work)

    async def client() -> list[Answer]:
        return [await target.send(each) for each in left]

    async def run() -> list[Answer]:
        answers = await asyncio.gather(*(client() for _ in range(clients)))
        return [answer for each in answers for answer in each]

    return await _measured(run(), len(work))


async def by_arrivals(
    target: Target, work: Sequence[Work], arrivals: Sequence[float]
) -> dict[str, Any]:
    """Measure requests that arrive at given seconds, whoever still waits."""

    async def send(each: Work, seconds: float) -> Answer:
        await asyncio.sleep(seconds)
        return await target.send(each)

    async def run() -> list[Answer]:
        pairs = zip(work, arrivals, strict=True)
        return await asyncio.gather(*(send(each, seconds) for each, seconds in pairs))

    return await _measured(run(), len(work))


async def _measured(run: Any, count: int) -> dict[str, Any]:
    """Return the figures of a run; `load_share` is how much of a processor this process took."""
    start, processor = time.perf_counter(), time.process_time()
    answers: list[Answer] = await run
    seconds = time.perf_counter() - start
    share = (time.process_time() - processor) / seconds
    good = [answer for answer in answers if answer.is_done and answer.times]
    failed = [answer for answer in answers if not (answer.is_done and answer.times)]
    figures: dict[str, Any] = {
        "requests": count,
        "failed": len(failed),
        "failures": sorted({(each.error or str(each.status))[:200] for each in failed})[:3],
        "seconds": seconds,
        "tokens_per_second": sum(answer.tokens for answer in good) / seconds,
        "load_share": share,
    }
    if good:
        first = [answer.times[0] - answer.sent for answer in good]
        gaps = [gap for answer in good for gap in np.diff(answer.times).tolist()]
        figures["first_token"] = percentiles(first)
        figures["between_tokens"] = percentiles(gaps)
    return figures


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return percentiles of times, by names such as p95."""
    if not seconds:
        return {}
    values = np.percentile(seconds, PERCENTILES)
    return {f"p{name}": float(value) for name, value in zip(PERCENTILES, values, strict=True)}
