"""A server in a process, from its start to its end."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

START_S = 600
END_S = 60


@dataclass(frozen=True)
class ServerProcess:
    """A server that runs.

    Attributes:
        url: its address, without a slash at the end.
        process: the process.
        log: the file with what it prints.
    """

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def resident_bytes(self) -> int:
        """Return the memory of the process now; its children's is not counted."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """Return the most memory that the process has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str],
    port: int,
    ready_path: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[ServerProcess]:
    """Run a server until the block is left.

    Args:
        command: what to run.
        port: where it listens, on this machine.
        ready_path: a path that it answers with 200 once it can serve.
        log: the file that its output goes to.
        environment: added to this process's.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    server = ServerProcess(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_ready(server, ready_path)
        yield server
    finally:
        end(process)


def _wait_until_ready(server: ServerProcess, path: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(server.url + path, timeout=5) as response,
        ):
            if response.status == 200:
                return
        time.sleep(0.1)
    last = server.log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{' '.join(server.process.args)} is not ready:\n{last}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, by force if it takes longer than a minute."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
