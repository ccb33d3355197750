"""Loading again and again keeps nothing open (benchmarks/endurance.py measures memory, too)."""

import gc
from pathlib import Path

import pytest

from gptneo_onnx.runtime import GPTNeoForCausalLM

PROCESS = Path("/proc/self")


def held():
    """Open descriptors and threads of this process."""
    gc.collect()
    return [len([*(PROCESS / name).iterdir()]) for name in ("fd", "task")]


@pytest.mark.skipif(not PROCESS.exists(), reason="needs /proc")
def test_loads_keep_no_descriptors_and_no_threads(embedded_export):
    counts = []
    for _ in range(12):
        model = GPTNeoForCausalLM.from_pretrained(embedded_export, device="cpu", num_threads=2)
        model.generate([[1, 2, 3]], max_new_tokens=2)
        del model
        counts.append(held())
    assert counts[-1] == counts[2]
