"""Writing weights files: every weight once, on page boundaries, to be memory-mapped.

Graphs of several number formats have a file each. What two formats store alike, such as the
position embeddings, lies in the first one's file, and the graphs of the other read it there.
"""

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
class Place:
    """Where a weight begins: a file's name, and a byte of it."""

    file: str
    offset: int


@dataclass(frozen=True)
class StoredWeights:
    """Where the weights of one number format lie.

    Attributes:
        file: the name of the file that is written for them.
        places: where each weight begins, in that file or in an earlier format's.
        nbytes: of the weights in that file, without the gaps between them.
        file_bytes: of that file.
        shared_bytes: of the weights in other files.
        groups: the specs of each group that another format may share.
    """

    file: str
    places: Mapping[str, Place]
    nbytes: int
    file_bytes: int
    shared_bytes: int
    groups: frozenset[tuple[WeightSpec, ...]]

    def holds(self, group: WeightGroup) -> bool:
        """Return whether a group is in the file that is written."""
        return self.places[group.specs[0].name].file == self.file


def plan_weights(
    file: str, groups: Iterable[WeightGroup], earlier: Sequence[StoredWeights] = ()
) -> StoredWeights:
    """Place weights one after the other, in their order, in a file of that name.

    Args:
        file: its name.
        groups: all weights of a number format.
        earlier: other formats of the same checkpoint. A group that one of them stores with the same
            specs has the same bytes, unless a text was read for it, and is not stored again.
    """
    places: dict[str, Place] = {}
    shareable = set()
    end = nbytes = shared_bytes = 0
    for group in groups:
        if not group.is_calibrated:
            shareable.add(group.specs)
            other = next((stored for stored in earlier if group.specs in stored.groups), None)
            if other is not None:
                places |= {spec.name: other.places[spec.name] for spec in group.specs}
                shared_bytes += group.nbytes
                continue
        for spec in group.specs:
            if spec.same_bytes_as:
                places[spec.name] = places[spec.same_bytes_as]
                continue
            places[spec.name] = Place(file, -(-end // PAGE_BYTES) * PAGE_BYTES)
            end = places[spec.name].offset + spec.nbytes
        nbytes += group.nbytes
    return StoredWeights(file, places, nbytes, end, shared_bytes, frozenset(shareable))


def write_weights(
    path: Path, groups: Iterable[WeightGroup], stored: StoredWeights, progress: bool
) -> None:
    """Write the weights of a file, with one group (or rows of it) in memory at a time."""
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
            if stored.holds(group):
                _write_group(file, group, stored, bar)
            del group  # with what it was computed from, before the next one is made


def _write_group(file: FileIO, group: WeightGroup, stored: StoredWeights, bar: Any) -> None:
    specs = {spec.name: spec for spec in group.specs if not spec.same_bytes_as}
    written = dict.fromkeys(specs, 0)  # bytes of each weight
    for arrays in group.compute():
        for name, array in arrays.items():
            file.seek(stored.places[name].offset + written[name])
            _write_array(file, array)
            written[name] += array.nbytes
            bar.update(array.nbytes)
    assert written == {name: spec.nbytes for name, spec in specs.items()}


def _write_array(file: FileIO, array: NDArray[Any]) -> None:
    content = array.reshape(-1).view(np.uint8).data
    while content:
        content = content[file.write(content) :]
