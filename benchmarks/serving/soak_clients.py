"""What clients do to a server: as they should, and as they should not."""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.http_stream import (
    Answer,
    Behaviour,
    connected,
    post,
    read_head,
    request_bytes,
    stream_completion,
)
from serving.soak_jobs import Job

# Seconds in which a request is answered, however busy the server is; later it counts as lost.
LOST_S = 120
REFUSED = (429, 503)
COMPLETIONS = "/v1/completions"
# A client that reads a stream until it is killed; it says when it has begun.
READER = """
import socket, sys
host, port, request = sys.argv[1:]
s = socket.create_connection((host, int(port)))
s.sendall(bytes.fromhex(request))
while s.recv(200):
    print(flush=True)
"""


@dataclass
class Record:
    """What happened.

    Attributes:
        outcomes: how often each kind of request had which outcome.
        wrong: what should not have happened.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, kind: str, outcome: str) -> None:
        self.outcomes[kind, outcome] += 1

    def complain(self, kind: str, what: str) -> None:
        self.note(kind, "WRONG")
        self.wrong.append(f"{kind}: {what}")


class Clients:
    """Clients of one server.

    Args:
        url: the server's.
        jobs: what they ask for.
        longest_queue: requests that the server lets wait.
        chance: draws what they do.
        record: what happens is added to it.
    """

    def __init__(
        self,
        url: str,
        jobs: Sequence[Job],
        longest_queue: int,
        chance: random.Random,
        record: Record,
    ) -> None:
        self._url = url
        self._jobs = jobs
        self._burst = 3 * longest_queue
        self._chance = chance
        self._record = record
        # What a client does, and how often beside the others.
        self.habits: dict[Callable[[], Awaitable[None]], int] = {
            self.read: 10, self.read_whole: 5, self.read_slowly: 2, self.leave: 5,
            self.leave_before_the_answer: 2, self.ask_badly: 4, self.come_in_a_burst: 1,
            self.be_killed: 1, self.look_around: 2,
        }  # fmt: skip

    async def act(self) -> None:
        """Do something that is drawn."""
        [habit] = self._chance.choices([*self.habits], [*self.habits.values()])
        try:
            async with asyncio.timeout(LOST_S):
                await habit()
        except TimeoutError:
            self._record.complain(habit.__name__, f"no answer in {LOST_S} s")
        except (OSError, asyncio.IncompleteReadError) as error:
            self._record.complain(habit.__name__, f"{type(error).__name__}: {error}")

    async def read(self) -> None:
        """Read a stream to its end."""
        await self._read("read", Behaviour())

    async def read_slowly(self) -> None:
        """Read a stream, with a pause before each part."""
        await self._read("slow", Behaviour(pause=0.05))

    async def _read(self, kind: str, behaviour: Behaviour) -> Answer:
        job = self._job()
        answer = await stream_completion(self._url, job.fields, behaviour)
        if answer.status in REFUSED:
            self._record.note(kind, f"refused with {answer.status}")
            await self._wait()
        elif not answer.is_done or answer.error:
            self._record.complain(kind, f"{answer.status}, ended early: {answer.error}")
        else:
            self._check(kind, job, answer.token_ids)
        return answer

    async def read_whole(self) -> None:
        """Get a result whole."""
        job = self._job()
        status, body = await post(self._url, COMPLETIONS, json.dumps(job.fields).encode())
        if status in REFUSED:
            self._record.note("whole", f"refused with {status}")
            await self._wait()
        elif status != 200:
            self._record.complain("whole", f"{status}: {body[:300]!r}")
        else:
            choices = json.loads(body)["choices"]
            self._check("whole", job, {each["index"]: each["token_ids"] for each in choices})

    def _check(self, kind: str, job: Job, got: dict[int, list[int]]) -> None:
        if got == job.expected:
            self._record.note(kind, f"right ({job.way})")
        else:
            self._record.complain(kind, f"{job.fields} gave {got}, alone {job.expected}")

    async def leave(self) -> None:
        """Go away in the middle of a stream."""
        behaviour = Behaviour(leaves_after=self._chance.randint(1, 20))
        await stream_completion(self._url, self._job().fields, behaviour)
        self._record.note("leave", "left")

    async def leave_before_the_answer(self) -> None:
        """Go away while the server works on a result that is wanted whole."""
        async with connected(self._url) as (_, writer):
            body = json.dumps(self._job().fields).encode()
            writer.write(request_bytes(self._url, COMPLETIONS, body))
            await writer.drain()
            await asyncio.sleep(self._chance.uniform(0, 0.2))
        self._record.note("leave before", "left")

    async def come_in_a_burst(self) -> None:
        """Send more requests at once than may wait."""
        await asyncio.gather(*(self._read("burst", Behaviour()) for _ in range(self._burst)))

    async def be_killed(self) -> None:
        """Have a client process killed while it reads a stream."""
        body = json.dumps(self._job().fields | {"stream": True}).encode()
        request = request_bytes(self._url, COMPLETIONS, body).hex()
        host, _, port = self._url.rpartition("/")[2].partition(":")
        await asyncio.to_thread(read_until_killed, host, port, request)
        self._record.note("killed", "killed")

    async def ask_badly(self) -> None:
        """Send what no server can serve: it must be refused, and as the client's fault."""
        path, body, method = self._chance.choice(bad_requests())
        status, answer = await post(self._url, path, body, method)
        if 400 <= status < 500:
            self._record.note("bad", f"refused with {status}")
        else:
            self._record.complain(
                "bad", f"{method} {path} {body[:100]!r}: {status} {answer[:200]!r}"
            )

    async def look_around(self) -> None:
        """Ask for what is not a completion."""
        path = self._chance.choice(["/", "/health", "/v1/models", "/page/status", "/page/page.js"])
        status, _ = await post(self._url, path, b"", "GET")
        if status == 200:
            self._record.note("look around", "answered")
        else:
            self._record.complain("look around", f"{path}: {status}")

    async def _wait(self) -> None:
        """Wait as one does who was told to try again later."""
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))

    def _job(self) -> Job:
        return self._chance.choice(self._jobs)


def read_until_killed(host: str, port: str, request: str) -> None:
    """Kill a process once it has begun to read the answer to a request, which is in hex."""
    command = [sys.executable, "-S", "-c", READER, host, port, request]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()


def bad_requests() -> list[tuple[str, bytes, str]]:
    """Return requests that cannot be served: path, body and method of each."""
    fields: list[Any] = [
        [], 5, {"prompt": 5}, {"prompt": {}}, {"prompt": "x", "max_tokens": -1},
        {"prompt": "x", "temperature": "hot"}, {"prompt": "x", "temperature": -1},
        {"prompt": "x", "top_p": 2}, {"prompt": "x", "model": "no-such-model"},
        {"prompt": "x", "n": 10_000}, {"prompt": [10**9]}, {"prompt": [-1]},
        {"prompt": "x " * 20_000}, {"prompt": "x", "logit_bias": {"999999999": 1}},
        {"prompt": "x", "max_tokens": 10**9}, {"prompt": "x", "stop": 5},
    ]  # fmt: skip
    bodies = [json.dumps(each).encode() for each in fields]
    bodies += [b"", b"{", b"\xff\xfe", b'{"prompt":' * 100, b"[" * 10_000, b'{"prompt": NaN}']
    return [
        *((COMPLETIONS, body, "POST") for body in bodies),
        (COMPLETIONS, b"", "GET"),
        (COMPLETIONS, b"", "DELETE"),
        ("/v1/nothing", b"{}", "POST"),
        ("/page/../../etc/passwd", b"", "GET"),
    ]


async def is_serving(url: str) -> bool:
    """Return whether a server takes connections."""
    try:
        async with connected(url) as (reader, writer):
            writer.write(request_bytes(url, "/health", method="GET"))
            await read_head(reader)
    except (OSError, asyncio.IncompleteReadError):
        return False
    return True
