"""Weights that are merged with an adapter's while they are read, in float32.

The results are those of peft for a model that was loaded in float32, whichever type the checkpoint
has: the numbers are rounded once, to the type of the export.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _MergedTensor(StoredTensor):
    """A tensor whose rows are changed when they are read."""

    base: StoredTensor

    def read(self) -> Floats:
        return self._changed(_floats(self.base.read()), 0)

    def row_blocks(self) -> Iterator[Floats]:
        start = 0
        for rows in self.base.row_blocks():
            yield self._changed(_floats(rows), start)
            start += len(rows)

    def _changed(self, rows: Floats, start: int) -> Floats:
        """Return rows of the base as they are merged; `start` is the first one's number."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class _LowRank(_MergedTensor):
    """base + up @ down * scaling: up is [rows, rank], down [rank, columns]."""

    up: StoredTensor
    down: StoredTensor
    scaling: float

    def _changed(self, rows: Floats, start: int) -> Floats:
        up = _floats(self.up.read())[start : start + len(rows)]
        product = up @ _floats(self.down.read())
        product *= np.float32(self.scaling)
        product += rows
        return product


@dataclass(frozen=True, kw_only=True)
class _RowsOfLength(_MergedTensor):
    """Each row in the direction of the base's, of a length [rows]: DoRA of a linear layer."""

    lengths: StoredTensor

    def _changed(self, rows: Floats, start: int) -> Floats:
        lengths = _floats(self.lengths.read()).reshape(-1)[start : start + len(rows)]
        with np.errstate(divide="ignore", invalid="ignore"):
            rows *= (lengths / np.linalg.norm(rows, axis=1))[:, None]
        return rows


@dataclass(frozen=True, kw_only=True)
class _ColumnsOfLength(_MergedTensor):
    """Each column in the direction of the base's, of a length [columns]: DoRA of an embedding."""

    lengths: StoredTensor

    def read(self) -> Floats:
        return np.concatenate([*self.row_blocks()])

    def row_blocks(self) -> Iterator[Floats]:
        squares = np.zeros(self.shape[1])
        for rows in self.base.row_blocks():
            squares += np.square(_floats(rows), dtype=np.float64).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            lengths = _floats(self.lengths.read()).reshape(-1)
            factors = _floats(lengths / np.sqrt(squares))
            for rows in self.base.row_blocks():
                yield factors * _floats(rows)


@dataclass(frozen=True, kw_only=True)
class _Scaled(_MergedTensor):
    """base * factors: factors of shape [rows, 1], [1, columns] or, for a bias, [rows]."""

    factors: StoredTensor

    def _changed(self, rows: Floats, start: int) -> Floats:
        factors = _floats(self.factors.read())
        return rows * (factors if len(factors) == 1 else factors[start : start + len(rows)])


@dataclass(frozen=True, kw_only=True)
class _Sum(_MergedTensor):
    """base + vector * scaling, of vectors of one shape."""

    vector: StoredTensor
    scaling: float

    def _changed(self, rows: Floats, start: int) -> Floats:
        vector = _floats(self.vector.read())[start : start + len(rows)]
        return rows + vector * np.float32(self.scaling)


@dataclass(frozen=True, kw_only=True)
class _WithRows(_MergedTensor):
    """base with other rows [len(numbers), columns] in the places of some."""

    numbers: tuple[int, ...]
    rows: StoredTensor

    def _changed(self, rows: Floats, start: int) -> Floats:
        places = np.array(self.numbers) - start
        inside = (places >= 0) & (places < len(rows))
        rows[places[inside]] = _floats(self.rows.read())[inside]
        return rows


def low_rank(
    base: StoredTensor, up: StoredTensor, down: StoredTensor, scaling: float
) -> StoredTensor:
    """Return base [rows, columns] + up [rows, rank] @ down [rank, columns] * scaling."""
    return _LowRank(**_described(base), up=up, down=down, scaling=scaling)


def rows_of_length(base: StoredTensor, lengths: StoredTensor) -> StoredTensor:
    """Return base [rows, columns] with rows of the lengths [rows]."""
    return _RowsOfLength(**_described(base), lengths=lengths)


def columns_of_length(base: StoredTensor, lengths: StoredTensor) -> StoredTensor:
    """Return base [rows, columns] with columns of the lengths [columns]; reads base twice."""
    return _ColumnsOfLength(**_described(base), lengths=lengths)


def scaled(base: StoredTensor, factors: StoredTensor) -> StoredTensor:
    """Return base [rows, columns] times [rows, 1] or [1, columns]; or a bias times its factors."""
    return _Scaled(**_described(base), factors=factors)


def summed(base: StoredTensor, vector: StoredTensor, scaling: float) -> StoredTensor:
    """Return base + vector * scaling."""
    return _Sum(**_described(base), vector=vector, scaling=scaling)


def with_rows(base: StoredTensor, numbers: tuple[int, ...], rows: StoredTensor) -> StoredTensor:
    """Return base with rows [len(numbers), columns] in the places of those numbers."""
    return _WithRows(**_described(base), numbers=numbers, rows=rows)


def transposed(tensor: StoredTensor) -> StoredTensor:
    """Return the transpose of a matrix that lies in a file."""
    return replace(tensor, shape=tensor.shape[::-1], transposed=not tensor.transposed)


def flattened(tensor: StoredTensor) -> StoredTensor:
    """Return [n] for a tensor of shape [n, 1] or [1, n] that lies in a file."""
    return replace(tensor, shape=(max(tensor.shape),), transposed=False)


def _described(base: StoredTensor) -> dict[str, Any]:
    """Return the fields of a merged tensor, for messages, with base itself."""
    described = {each.name: getattr(base, each.name) for each in fields(StoredTensor)}
    return described | {"dtype": np.dtype(np.float32), "base": base}


def _floats(values: NDArray[Any]) -> Floats:
    return values.astype(np.float32, copy=False)
