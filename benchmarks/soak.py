"""Mixed load on a server for as long as one likes: nothing may get lost, wrong or larger.

    python benchmarks/soak.py [MODEL] [--minutes 30] [--clients 12] [--seed 0] [--out RESULTS.json]

MODEL is an exported model; by default the embedded one. Clients stream results, leave in the
middle, read slowly, are killed, send nonsense, and come in bursts beyond the queue. Each result
that ends is compared with what generate() gives alone. In the end the server gets SIGTERM while
it works: what it has taken it must finish.

Prints what happened and the server's memory over time; exits with 1 if anything was wrong:

- a result that differs, or a request that is not answered;
- a refusal with another status than 4xx or 503;
- a slot that stays taken once nobody asks any more;
- memory that grows by more than a tenth after the first third (of runs of 5 minutes at least);
- a result cut off by SIGTERM, or an exit status other than 0.

Linux only.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.http_stream import Answer, post, stream_completion
from serving.server_process import ServerProcess, free_port, running
from serving.soak_clients import Clients, Record, is_serving
from serving.soak_jobs import Job, drawn_jobs

from gptneo_onnx.runtime.on_demand_export import embedded_export

SLOTS, MAX_WAITING = 4, 8
JOBS = 48
QUIET_S = 30
DRAIN_S = 60
MOST_GROWTH = 0.1
# Below this the first third is too short for caches to fill.
LEAST_MINUTES_FOR_MEMORY = 5


def main() -> None:
    """Load a server; exit with 1 if anything was wrong."""
    options = arguments()
    directory = options.model or embedded_export()
    jobs = drawn_jobs(directory, JOBS, options.seed)
    port = free_port()
    command = [
        sys.executable, "-m", "gptneo_onnx", "serve", directory, "--port", port, "--slots", SLOTS,
        "--max-waiting", MAX_WAITING, "--prefix-cache", "64MiB", "--drain-seconds", DRAIN_S,
        "--log-level", "warning",
    ]  # fmt: skip
    record = Record()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with running([str(part) for part in command], port, "/health", log) as server:
            memory = asyncio.run(soak(server, jobs, options, record))
            asyncio.run(drain(server, jobs, record))
        check_log(log, record)
    check_memory(memory, options.minutes, record)
    report(record, memory)
    if options.out:
        options.out.write_text(json.dumps(results(record, memory, options), indent=1))
    sys.exit(1 if record.wrong else 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


async def soak(
    server: ServerProcess, jobs: Sequence[Job], options: argparse.Namespace, record: Record
) -> list[tuple[float, int]]:
    """Load the server, then wait until it is idle; return its memory, (seconds, bytes) by time."""
    chance = random.Random(options.seed)
    clients = Clients(server.url, jobs, MAX_WAITING, chance, record)
    start, end = time.monotonic(), time.monotonic() + 60 * options.minutes
    memory: list[tuple[float, int]] = []

    async def client() -> None:
        while time.monotonic() < end:
            await clients.act()

    async def watch() -> None:
        while True:
            memory.append((time.monotonic() - start, server.resident_bytes()))
            await asyncio.sleep(max(0.2, options.minutes / 10))

    watching = asyncio.ensure_future(watch())
    await asyncio.gather(*(client() for _ in range(options.clients)))
    watching.cancel()
    await check_idle(server, record)
    return memory


async def check_idle(server: ServerProcess, record: Record) -> None:
    """Wait until no slot is taken and nothing waits."""
    end = time.monotonic() + QUIET_S
    state: dict[str, Any] = {}
    while time.monotonic() < end:
        _, body = await post(server.url, "/page/status", b"", "GET")
        [state] = json.loads(body)["models"]
        if not state["slots_in_use"] and not state["waiting"]:
            return
        await asyncio.sleep(0.2)
    record.complain("idle", f"{QUIET_S} s after the last request: {state}")


async def drain(server: ServerProcess, jobs: Sequence[Job], record: Record) -> None:
    """Send SIGTERM to the server while it works; what it has taken must end as it should."""
    longest = sorted(jobs, key=lambda job: -job.fields["max_tokens"])[: SLOTS + 2]
    asked = [asyncio.ensure_future(stream_completion(server.url, job.fields)) for job in longest]
    while not await is_busy(server) and not all(each.done() for each in asked):
        await asyncio.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    for job, answer in zip(longest, await asyncio.gather(*asked), strict=True):
        check_drained(job, answer, record)
    end = time.monotonic() + DRAIN_S
    while server.process.poll() is None and time.monotonic() < end:
        await asyncio.sleep(0.1)
    status = server.process.poll()
    if status != 0:
        record.complain("drain", f"the server ended with {status} after SIGTERM")
    if await is_serving(server.url):
        record.complain("drain", "somebody listens on the port")


async def is_busy(server: ServerProcess) -> bool:
    """Return whether every slot is taken, or as many as fit."""
    _, body = await post(server.url, "/page/status", b"", "GET")
    [state] = json.loads(body)["models"]
    return state["slots_in_use"] >= SLOTS - 1 or state["waiting"] > 0


def check_drained(job: Job, answer: Answer, record: Record) -> None:
    """A request that was taken before SIGTERM has its whole result; others were refused."""
    if answer.status in (0, 503):
        record.note("drain", "refused")
    elif answer.status == 200 and answer.is_done and answer.token_ids == job.expected:
        record.note("drain", "right")
    else:
        record.complain("drain", f"{answer.status}: {answer.token_ids}, {answer.error}")


def check_log(log: Path, record: Record) -> None:
    """Nothing that the server did not expect is in its log."""
    text = log.read_text(errors="replace")
    if "Traceback" in text:
        record.complain("log", text[text.index("Traceback") :][:2000])


def check_memory(memory: Sequence[tuple[float, int]], minutes: float, record: Record) -> None:
    """Compare the memory after a third of the time with that at the end."""
    if minutes >= LEAST_MINUTES_FOR_MEMORY:
        early, late = thirds(memory)
        if late > (1 + MOST_GROWTH) * early:
            record.complain("memory", f"{early / 2**20:.0f} MiB, then {late / 2**20:.0f} MiB")


def thirds(memory: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Return the greatest memory in the second tenth after the first third, and in the last."""
    values = [held for _, held in memory]
    tenth = max(1, len(values) // 10)
    third = len(values) // 3
    return max(values[third : third + tenth]), max(values[-tenth:])


def report(record: Record, memory: Sequence[tuple[float, int]]) -> None:
    """Print what happened."""
    for (kind, outcome), count in sorted(record.outcomes.items()):
        print(f"{count:7d} {kind}: {outcome}")
    early, late = thirds(memory)
    print(
        f"memory: {early / 2**20:.0f} MiB after a third of the time, {late / 2**20:.0f} at the end"
    )
    for each in record.wrong[:20]:
        print(f"WRONG {each}")
    print(f"{len(record.wrong)} wrong of {record.outcomes.total()}")


def results(
    record: Record, memory: Sequence[tuple[float, int]], options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "minutes": options.minutes,
        "clients": options.clients,
        "outcomes": {f"{kind}: {what}": n for (kind, what), n in sorted(record.outcomes.items())},
        "wrong": record.wrong,
        "memory": memory,
    }


if __name__ == "__main__":
    main()
