"""A server over OpenVINO GenAI's ContinuousBatchingPipeline, which has no server in Python.

    python benchmarks/serving/openvino_server.py DIRECTORY PORT THREADS SLOTS

Its results are GPT-Neo's within the window alone: the conversion to paged attention drops the
windows of local layers. It runs in its default precisions, with a cache of 8 bits.
"""

import sys
import threading

import numpy as np
import openvino
import openvino_genai
from completions_app import Deliver, serve

CACHE_GB = 4


class Engine:
    """Steps the pipeline in a thread while there are requests."""

    def __init__(self, directory: str, threads: int, slots: int) -> None:
        settings = openvino_genai.SchedulerConfig()
        settings.cache_size = CACHE_GB
        settings.max_num_seqs = slots
        settings.enable_prefix_caching = False
        properties = {"INFERENCE_NUM_THREADS": str(threads)}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            directory, settings, "CPU", properties
        )
        self._running: list[tuple[object, int, Deliver]] = []
        self._changed = threading.Condition()
        self._count = 0
        threading.Thread(target=self._step, daemon=True).start()

    def start(self, ids: list[int], limit: int, deliver: Deliver) -> None:
        """Add a request."""
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = limit
        config.do_sample = False
        config.ignore_eos = True
        with self._changed:
            self._count += 1
            tensor = openvino.Tensor(np.array([ids], np.int64))
            handle = self._pipeline.add_request(self._count, tensor, config)
            self._running.append((handle, limit, deliver))
            self._changed.notify()

    def _step(self) -> None:
        while True:
            with self._changed:
                while not self._running:
                    self._changed.wait()
                now = list(self._running)
            self._pipeline.step()
            left = [each for each in (_read(*entry) for entry in now) if each]
            with self._changed:
                self._running = left + self._running[len(now) :]


def _read(handle, left: int, deliver: Deliver) -> tuple[object, int, Deliver] | None:
    """Deliver what a request has got; return it with what is left, None at its end."""
    while left and handle.can_read():
        for token in handle.read()[0].generated_ids:
            deliver(token)
            left -= 1
    if left:
        return handle, left, deliver
    deliver(None)
    return None


def main() -> None:
    """Serve until a signal ends it."""
    directory, port, threads, slots = sys.argv[1], *map(int, sys.argv[2:])
    serve(directory, port, Engine(directory, threads, slots).start)


if __name__ == "__main__":
    main()
