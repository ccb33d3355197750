"""How gptneo-onnx serve ends: running requests finish, new ones are refused, and signals count."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess, serving

# Nearly as long as the context allows, for what is asked meanwhile.
LONG = {"prompt": "She", "max_tokens": 500, "ignore_eos": True, "n": 8}


def signalled(server: ServerProcess, number: int) -> int:
    """Send a signal; return the exit status."""
    server.process.send_signal(number)
    return server.process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_with_status_0(embedded_export, number):
    with serving(embedded_export) as server:
        assert signalled(server, number) == 0
        assert "Traceback" not in server.log.read_text()


def stream_of(url: str, started: threading.Event, events: list[dict[str, object]]) -> None:
    """Read a long stream; set the event when its first token is there."""
    body = LONG | {"stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=120) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line.removeprefix("data: ")))
            started.set()


def test_running_requests_finish_and_new_ones_are_refused(embedded_export):
    started, events = threading.Event(), []
    with serving(embedded_export) as server:
        thread = threading.Thread(target=stream_of, args=(server.url, started, events))
        thread.start()
        assert started.wait(60)
        server.process.send_signal(signal.SIGTERM)
        wait_for_drain(server)
        assert httpx.get(f"{server.url}/health").status_code == 200
        not_ready = httpx.get(f"{server.url}/ready")
        assert (not_ready.status_code, not_ready.json()) == (503, {"status": "draining"})
        refused = httpx.post(f"{server.url}/v1/completions", json={"prompt": "She"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["code"] == "shutting_down"
        assert server.process.wait(60) == 0
        thread.join()
    assert len(events) > 100
    assert events[-1]["choices"][0]["finish_reason"] == "length"


def test_what_does_not_finish_in_time_ends_with_an_error(embedded_export):
    started, events = threading.Event(), []
    with serving(embedded_export, "--drain-seconds", "0") as server:
        thread = threading.Thread(target=stream_of, args=(server.url, started, events))
        thread.start()
        assert started.wait(60)
        assert signalled(server, signal.SIGTERM) == 0
        thread.join()
        log = server.log.read_text()
    assert events[-1]["error"]["code"] == "shutting_down"
    assert "1 requests were not finished" in log
    assert "Traceback" not in log


def test_a_second_signal_ends_at_once(embedded_export):
    started, events = threading.Event(), []
    with serving(embedded_export, "--drain-seconds", "600", "--slots", "1") as server:
        readers = [
            threading.Thread(target=read_to_the_end_or_not, args=(server.url, started, events))
            for _ in range(20)
        ]
        for reader in readers:
            reader.start()
        assert started.wait(60)
        server.process.send_signal(signal.SIGTERM)
        wait_for_drain(server)
        # By the signal, or with its status where the machine is too slow to end in two seconds.
        assert signalled(server, signal.SIGTERM) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        for reader in readers:
            reader.join()


def read_to_the_end_or_not(*arguments) -> None:
    with contextlib.suppress(httpx.TransportError):
        stream_of(*arguments)


def wait_for_drain(server: ServerProcess) -> None:
    end = time.monotonic() + 60
    while "draining" not in server.log.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_for_the_log_stops_nothing(embedded_export):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gptneo_onnx", "serve", str(embedded_export)]
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen([*command, "--port", str(port)], stderr=full)
    with process:
        url = f"http://127.0.0.1:{port}"
        wait_until_answered(f"{url}/health")
        body = {"prompt": "She", "max_tokens": 1}
        assert httpx.post(f"{url}/v1/completions", json=body).status_code == 200
        process.terminate()
        assert process.wait(60) == 0


def wait_until_answered(url: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url)
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")
