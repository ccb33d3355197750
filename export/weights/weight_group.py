"""The weights that a graph stores, in groups that are computed together.

What is stored (WeightSpec) is known before any tensor is read: offsets and graphs are made from it.
The numbers are computed group by group, while the weights file is written.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.graph import DataType

# Numbers by the names of the weights that they belong to.
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class WeightSpec:
    """An initializer of a graph: its name, type and shape.

    Attributes:
        name, data_type, shape: as fused graphs declare it.
        portable: the type and shape that portable graphs declare for the same bytes, where they
            differ.
        same_bytes_as: the name of another weight of the group, of equal size, whose bytes this one
            shares; it is then not stored again.
    """

    name: str
    data_type: DataType
    shape: tuple[int, ...]
    portable: tuple[DataType, tuple[int, ...]] | None = None
    same_bytes_as: str = ""

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.data_type.bits // 8

    def alias(self, name: str, shape: tuple[int, ...]) -> "WeightSpec":
        """Return the same bytes under another name and shape."""
        return WeightSpec(name, self.data_type, shape, same_bytes_as=self.name)

    def as_portable(self) -> "WeightSpec":
        """Return the weight as portable graphs declare it."""
        if self.portable is None:
            return self
        data_type, shape = self.portable
        declared = replace(self, data_type=data_type, shape=shape)
        assert declared.nbytes == self.nbytes
        return declared


@dataclass(frozen=True)
class WeightGroup:
    """Weights that are computed together, such as a layer's codes, scales and zero points.

    Attributes:
        specs: the weights, in the order in which they are stored.
        compute: reads the checkpoint and yields the numbers of all stored weights by name, rows of
            each at a time: a large table is never in memory as a whole. A weight's bytes are those
            of its arrays, one after the other.
        is_calibrated: whether they are computed from what a text was read with, besides the
            checkpoint.
    """

    specs: tuple[WeightSpec, ...]
    compute: Callable[[], Iterator[Arrays]]
    is_calibrated: bool = False

    @property
    def nbytes(self) -> int:
        """The bytes of its numbers, each counted once."""
        return sum(spec.nbytes for spec in self.specs if not spec.same_bytes_as)

    def read(self) -> dict[str, NDArray[Any]]:
        """Compute the whole group at once."""
        pieces = [*self.compute()]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
