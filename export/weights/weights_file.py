"""Writing a graph's weights file: every weight once, on page boundaries, to be memory-mapped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gptneo_onnx.export.weights.weight_group import WeightGroup, WeightSpec

# ONNX asks for offsets that are multiples of the page size (TensorProto.external_data).
PAGE_BYTES = 4096


@dataclass(frozen=True)
class StoredWeights:
    """Where weights lie.

    Attributes:
        file: the name of their file.
        offsets: the byte of it at which each weight begins.
        nbytes: of all weights, without the gaps between them.
        file_bytes: of the file.
    """

    file: str
    offsets: Mapping[str, int]
    nbytes: int
    file_bytes: int


def plan_offsets(file: str, specs: Sequence[WeightSpec]) -> StoredWeights:
    """Place weights one after the other, in their order, in a file of that name."""
    offsets: dict[str, int] = {}
    end = nbytes = 0
    for spec in specs:
        if spec.same_bytes_as:
            offsets[spec.name] = offsets[spec.same_bytes_as]
            continue
        offsets[spec.name] = -(-end // PAGE_BYTES) * PAGE_BYTES
        end = offsets[spec.name] + spec.nbytes
        nbytes += spec.nbytes
    return StoredWeights(file, offsets, nbytes, end)


def write_weights(
    path: Path, groups: Iterable[WeightGroup], stored: StoredWeights, progress: bool
) -> None:
    """Write every weight at its offset, with one group (or rows of it) in memory at a time."""
    with (
        path.open("wb", buffering=0) as file,
        tqdm(
            total=stored.nbytes,
            unit="B",
            unit_scale=True,
            desc="weights",
            disable=None if progress else True,  # None: drawn on a terminal only
        ) as bar,
    ):
        for group in groups:
            _write_group(file, group, stored, bar)
            del group  # with what it was computed from, before the next one is made


def _write_group(file: FileIO, group: WeightGroup, stored: StoredWeights, bar: Any) -> None:
    specs = {spec.name: spec for spec in group.specs if not spec.same_bytes_as}
    written = dict.fromkeys(specs, 0)  # bytes of each weight
    for arrays in group.compute():
        for name, array in arrays.items():
            file.seek(stored.offsets[name] + written[name])
            _write_array(file, array)
            written[name] += array.nbytes
            bar.update(array.nbytes)
    assert written == {name: spec.nbytes for name, spec in specs.items()}


def _write_array(file: FileIO, array: NDArray[Any]) -> None:
    content = array.reshape(-1).view(np.uint8).data
    while content:
        content = content[file.write(content) :]
