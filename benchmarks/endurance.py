"""Measures what many tokens and many loads cost in one process: memory, descriptors, threads.

    python benchmarks/endurance.py [DIRECTORY] --tokens 20000 --loads 1000

DIRECTORY is an exported model; by default the embedded one. Each line says what the process holds
after a tenth of the work. Linux only.
"""

import argparse
import gc
import os
from collections.abc import Callable
from pathlib import Path

from gptneo_onnx import GPTNeoForCausalLM
from gptneo_onnx.runtime.on_demand_export import embedded_export

STEPS = 10
TOKENS_A_CALL = 100


def main() -> None:
    """Generate tokens, then load the model again and again."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--loads", type=int, default=1_000)
    options = parser.parse_args()
    directory = options.directory or embedded_export()
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")

    def generate(number: int) -> None:
        model.generate([[1, 2, 3]], max_new_tokens=TOKENS_A_CALL, eos_token_id=None, seed=number)

    def load(number: int) -> None:
        loaded = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
        loaded.generate([[1, 2, 3]], max_new_tokens=2, eos_token_id=None, seed=number)

    repeat("calls of 100 tokens", generate, options.tokens // TOKENS_A_CALL)
    repeat("loads", load, options.loads)


def repeat(what: str, work: Callable[[int], None], times: int) -> list[tuple[int, int, int]]:
    """Do work many times; print and return what the process holds after each tenth."""
    held = []
    for number in range(times):
        work(number)
        if (number + 1) % max(1, times // STEPS) == 0:
            gc.collect()
            held.append(holds())
            memory, descriptors, threads = held[-1]
            resident = f"{memory / 2**20:.1f} MiB resident"
            print(f"{number + 1} {what}: {resident}, {descriptors} descriptors, {threads} threads")
    return held


def holds() -> tuple[int, int, int]:
    """Return the process's resident bytes, open descriptors, and threads."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors, threads = (len([*Path(f"/proc/self/{name}").iterdir()]) for name in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE"), descriptors, threads


if __name__ == "__main__":
    main()
