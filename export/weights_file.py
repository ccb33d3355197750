"""Writing model.onnx_data: every weight once, on page boundaries, to be memory-mapped."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gptneo_onnx.export.graph_weight import GraphWeight

# ONNX asks for offsets that are multiples of the page size (TensorProto.external_data).
PAGE_BYTES = 4096


def weight_offsets(weights: Sequence[GraphWeight]) -> dict[str, int]:
    """Where each weight begins in the file, in bytes."""
    offsets: dict[str, int] = {}
    end = 0
    for weight in weights:
        if weight.same_bytes_as:
            offsets[weight.name] = offsets[weight.same_bytes_as]
            continue
        offsets[weight.name] = -(-end // PAGE_BYTES) * PAGE_BYTES
        end = offsets[weight.name] + weight.nbytes
    return offsets


def write_weights(
    path: Path, weights: Sequence[GraphWeight], offsets: Mapping[str, int], progress: bool
) -> None:
    """Write every weight at its offset, one matrix in memory at a time."""
    stored = [weight for weight in weights if not weight.same_bytes_as]
    total = sum(weight.nbytes for weight in stored)
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
        for weight in stored:
            file.seek(offsets[weight.name])
            for block in weight.blocks():
                content = block.reshape(-1).view(np.uint8).data
                while content:
                    content = content[file.write(content) :]
                bar.update(block.nbytes)
