"""Fuzz targets of the readers of weights: every tensor that a mutated file names is read."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import Mutate, Target, mutate_bytes

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor

TENSORS: dict[str, Any] = {
    "transformer.wte.weight": np.arange(40, dtype=np.float32).reshape(10, 4),
    "transformer.h.0.ln_1.bias": np.arange(4, dtype=np.float16),
    "transformer.h.0.attn.attention.masked_bias": np.array(-1e9, np.float32),
    "transformer.h.0.attn.attention.bias": np.ones((1, 1, 2, 2), np.uint8),
}


def weights_target(
    file_name: str,
    save: Callable[[Path, Any], None],
    read: Callable[[Path], Mapping[str, StoredTensor]],
    mutate: Mutate = mutate_bytes,
) -> Target:
    """Return the target of a reader, whose seeds `save` writes."""

    def seeds() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file_name
            save(path, TENSORS)
            return [path.read_bytes()]

    def run(data: bytes, folder: Path) -> None:
        path = folder / file_name
        path.write_bytes(data)
        for stored in read(path).values():
            if stored.shape:
                for block in stored.row_blocks():
                    assert block.nbytes <= len(data) * 8
            assert stored.read().nbytes <= len(data) * 8, "more than the file holds"

    return Target(seeds, run, mutate)
