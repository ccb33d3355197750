"""Writing a graph's weights file: every weight once, on page boundaries, to be memory-mapped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gptneo_onnx.export.weights.graph_weight import GraphWeight

# ONNX asks for offsets that are multiples of the page size (TensorProto.external_data).
PAGE_BYTES = 4096


@dataclass(frozen=True)
class StoredWeights:
    """Where weights lie: a file's name, and at which byte of it each begins."""

    file: str
    offsets: Mapping[str, int]


def plan_offsets(file: str, weights: Sequence[GraphWeight]) -> StoredWeights:
    """One behind the other in a file of that name, in their order."""
    offsets: dict[str, int] = {}
    end = 0
    for weight in weights:
        if weight.same_bytes_as:
            offsets[weight.name] = offsets[weight.same_bytes_as]
            continue
        offsets[weight.name] = -(-end // PAGE_BYTES) * PAGE_BYTES
        end = offsets[weight.name] + weight.nbytes
    return StoredWeights(file, offsets)


def write_weights(
    path: Path, weights: Sequence[GraphWeight], stored: StoredWeights, progress: bool
) -> None:
    """Write every weight at its offset, one matrix in memory at a time."""
    written = [weight for weight in weights if not weight.same_bytes_as]
    total = sum(weight.nbytes for weight in written)
    with (
        path.open("wb", buffering=0) as file,
        tqdm(
            total=total,
            unit="B",
            unit_scale=True,
            desc="weights",
            disable=None if progress else True,  # None: drawn on a terminal only
        ) as bar,
    ):
        for weight in written:
            file.seek(stored.offsets[weight.name])
            for block in weight.blocks():
                content = block.reshape(-1).view(np.uint8).data
                while content:
                    content = content[file.write(content) :]
                bar.update(block.nbytes)
