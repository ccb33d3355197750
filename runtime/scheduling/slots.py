"""Which slots of the cache are taken."""

from collections.abc import Iterable


class FreeSlots:
    """The free slots of a cache; the lowest are taken first, so that steps stay short."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = set(range(count))

    def __len__(self) -> int:
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """Return the lowest free slots, in order; there must be that many."""
        taken = sorted(self._free)[:count]
        self._free.difference_update(taken)
        return taken

    def free(self, slots: Iterable[int]) -> None:
        """Give slots back."""
        self._free.update(slots)
