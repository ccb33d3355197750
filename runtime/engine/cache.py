"""What every cache of sequences offers, whichever graph fills it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError


@dataclass(frozen=True)
class RollbackPoint:
    """A length of a slot that can be returned to, with the rows that its windows may lose since."""

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
        window: rows that local layers keep; None where every layer keeps all.
        host_type: numpy's type of what `read` gives; bfloat16, which numpy has not, comes as int16.
    """

    window: int | None = None
    host_type: np.dtype[Any]

    def __init__(self, slots: int, capacity: int) -> None:
        self.slots = slots
        self.capacity = capacity
        self.lengths: NDArray[np.int64] = np.zeros(slots, np.int64)

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the cache may fill on the device."""

    def check_room(self, slot: int, tokens: int) -> None:
        """Raise InputError unless that many tokens fit behind what the slot holds."""
        held = int(self.lengths[slot])
        if not 1 <= tokens <= self.capacity - held:
            raise InputError(
                f"{tokens} tokens cannot follow the {held} of slot {slot}; "
                f"1 to {self.capacity - held} can"
            )

    def clear(self, slot: int) -> None:
        """Forget the slot's sequence."""
        self.lengths[slot] = 0

    @abstractmethod
    def reorder(self, order: NDArray[np.int64]) -> None:
        """Slot i takes the sequence that slot order[i] had."""

    @abstractmethod
    def checkpoint(self, slot: int, tokens: int) -> RollbackPoint:
        """Keep what is needed to take back the slot's next `tokens` tokens."""

    @abstractmethod
    def roll_back(self, checkpoint: RollbackPoint, length: int) -> None:
        """Drop the tokens behind `length`, exactly.

        Raises:
            InputError: a length before the checkpoint, or more tokens since than it was made for.
        """

    def check_roll_back(self, checkpoint: RollbackPoint, length: int) -> None:
        """Raise InputError unless the checkpoint reaches that length."""
        slot, now = checkpoint.slot, int(self.lengths[checkpoint.slot])
        most = min(now, checkpoint.length + checkpoint.tokens)
        if now > checkpoint.length + checkpoint.tokens or not checkpoint.length <= length <= now:
            raise InputError(
                f"slot {slot} cannot go back to {length} of {now} tokens; "
                f"{checkpoint.length} to {most} are kept"
            )

    @abstractmethod
    def read(self, slot: int) -> list[NDArray[Any]]:
        """Copies of the slot's rows, [heads, rows, head_dim], keys and values of each layer."""

    @abstractmethod
    def write(self, slot: int, layers: Sequence[NDArray[Any]], length: int) -> None:
        """Put what `read` gave, of a sequence of that length, into a slot."""

    @abstractmethod
    def row_shapes(self, length: int) -> list[tuple[int, ...]]:
        """The shapes of what `read` gives of a sequence of that length."""
