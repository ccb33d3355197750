"""Saved prompts."""

import functools
import tempfile
from pathlib import Path

import numpy as np
from fuzzing import Target

from gptneo_onnx.runtime.engine.prompt_cache import PromptCache, SavedSequence


@functools.cache
def seeds() -> list[bytes]:
    def sequence(length: int, dtype: type) -> SavedSequence:
        layers = [np.zeros((2, length, 4), dtype) for _ in range(4)]
        return SavedSequence(np.arange(length), layers, np.zeros(16, np.float32))

    files = []
    for sequences in ([sequence(3, np.float32)], [sequence(2, np.float16), sequence(1, np.int16)]):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cache"
            PromptCache(tuple(sequences), "a" * 64).save(path)
            files.append(path.read_bytes())
    return files


def run(data: bytes, folder: Path) -> None:
    path = folder / "cache"
    path.write_bytes(data)
    cache = PromptCache.load(path)
    assert cache.nbytes <= len(data)
    assert cache.get_seq_length() <= len(data)


TARGET = Target(seeds, run)
