"""Which slots of the cache are taken."""

from bisect import insort
from collections.abc import Iterable


class FreeSlots:
    """The free slots of a cache; the lowest are taken first, so that steps stay short."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = [*range(count)]  # in ascending order

    def __len__(self) -> int:
        return len(self._free)

    @property
    def lowest(self) -> int:
        """The lowest free slot; `count` if none is free."""
        return self._free[0] if self._free else self.count

    def take(self, count: int) -> list[int]:
        """Return the lowest free slots, in order; there must be that many."""
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def free(self, slots: Iterable[int]) -> None:
        """Give slots back."""
        for slot in slots:
            insort(self._free, slot)
