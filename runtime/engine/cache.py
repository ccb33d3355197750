"""The interface of every cache of keys and values, whichever graph fills it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Indices


@dataclass(frozen=True)
class RollbackPoint:
    """A point that a slot can be rolled back to.

    Attributes:
        slot: the slot.
        length: tokens that the slot held when the point was made.
        tokens: tokens that may follow before the slot is rolled back.
        evicted: copies of the window rows that those tokens overwrite, one for each such buffer.
    """

    slot: int
    length: int
    tokens: int
    evicted: tuple[Any, ...] = ()


class Cache(ABC):
    """Keys and values of several sequences, each in a slot.

    Attributes:
        slots: how many sequences fit.
        capacity: the longest sequence, in tokens.
        lengths: int64 [slots], the tokens that each slot holds.
        window: rows that local layers keep; None where every layer keeps all rows.
        host_type: numpy's type of what `read` returns; bfloat16, which numpy lacks, becomes int16.
    """

    window: int | None = None
    host_type: np.dtype[Any]

    def __init__(self, slots: int, capacity: int) -> None:
        self.slots = slots
        self.capacity = capacity
        self.lengths: Indices = np.zeros(slots, np.int64)

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the cache may take on the device."""

    def check_room(self, slot: int, tokens: int) -> None:
        """Raise InputError unless that many tokens fit after those that the slot holds."""
        length = int(self.lengths[slot])
        if not 1 <= tokens <= self.capacity - length:
            raise InputError(
                f"{tokens} tokens cannot follow the {length} of slot {slot}; "
                f"1 to {self.capacity - length} can"
            )

    def clear(self, slot: int) -> None:
        """Forget the slot's sequence."""
        self.lengths[slot] = 0

    @abstractmethod
    def reorder(self, order: Indices) -> None:
        """Give slot i the sequence that slot order[i] had."""

    @abstractmethod
    def rollback_point(self, slot: int, tokens: int) -> RollbackPoint:
        """Return a point to roll the slot back to, after at most `tokens` more tokens."""

    @abstractmethod
    def roll_back(self, point: RollbackPoint, length: int) -> None:
        """Drop the tokens after `length`, exactly.

        Raises:
            InputError: the length is before the point, or more tokens followed than it allows.
        """

    def check_roll_back(self, point: RollbackPoint, length: int) -> None:
        """Raise InputError unless the slot can be rolled back from the point to that length."""
        slot, now = point.slot, int(self.lengths[point.slot])
        if now > point.length + point.tokens:
            raise InputError(
                f"slot {slot} cannot go back to {length} of {now} tokens: its rollback point at "
                f"{point.length} was made for {point.tokens} more; make it for all that follow"
            )
        if not point.length <= length <= now:
            raise InputError(
                f"slot {slot} cannot go back to {length} of {now} tokens; "
                f"{point.length} to {now} are kept"
            )

    @abstractmethod
    def read(self, slot: int) -> list[NDArray[Any]]:
        """Return copies of the slot's rows [heads, rows, head_dim], keys and values by layer."""

    @abstractmethod
    def write(self, slot: int, layers: Sequence[NDArray[Any]], length: int) -> None:
        """Put what `read` returned for a sequence of that length into a slot."""

    @abstractmethod
    def view_rows(self, slot: int, start: int, stop: int) -> list[NDArray[Any]]:
        """Return the rows [heads, stop - start, head_dim] of some tokens, keys and values by layer.

        They may be views that the next step changes. Every layer must still have them: windows have
        those of the last `window` tokens.
        """

    def restore(self, slot: int, blocks: Sequence[NDArray[Any]], length: int) -> None:
        """Put a sequence of that length into a slot.

        Args:
            slot: the slot.
            blocks: rows of all its tokens, [keys and values by layer, heads, tokens, head_dim]
                each; at least one.
            length: tokens of all blocks together.
        """
        layers = []
        for layer, (_, count, _) in enumerate(self.row_shapes(length)):
            rows = [block[layer] for block in blocks]
            layers.append(np.concatenate(rows, axis=1)[:, length - count :])
        self.write(slot, layers, length)

    @abstractmethod
    def row_shapes(self, length: int) -> list[tuple[int, ...]]:
        """Return the shapes that `read` has for a sequence of that length."""
