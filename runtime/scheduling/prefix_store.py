"""Keys and values of texts that later prompts may begin with.

    path = store.begin(ids)                 # what is known of the prompt
    path.restore(cache, slot, length)       # some of that, into a slot
    path.extend(cache, slot)                # after each chunk: keep what is new
    path.close()

Every layer's rows are kept, those of local layers too, and are copied after the chunk that computed
them, while the windows still have them. So a prompt can go on after any block, however long the
text is.
"""

from dataclasses import dataclass

import numpy as np

from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.engine.cache import Cache
from gptneo_onnx.runtime.scheduling.prefix_tree import BlockRows, PrefixBlock, PrefixTree
from gptneo_onnx.runtime.scheduling.prompt_cuts import BLOCK


@dataclass(frozen=True, kw_only=True)
class PrefixStatistics:
    """What a store of prefixes did so far, and what it holds.

    Attributes:
        lookups, lookup_tokens: prompts that were looked up, and their tokens.
        hits, hit_tokens: prompts that began with what was stored, and the tokens that were not
            read again.
        stored_bytes, stored_blocks: what is held; a block is 16 tokens.
        evicted_blocks: blocks that had to go.
        max_bytes: the most that may be held.
    """

    lookups: int = 0
    lookup_tokens: int = 0
    hits: int = 0
    hit_tokens: int = 0
    stored_bytes: int = 0
    stored_blocks: int = 0
    evicted_blocks: int = 0
    max_bytes: int = 0


class PrefixStore:
    """Keys and values of texts within a bound of memory; for one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._tree = PrefixTree(BLOCK, max_bytes)
        self._lookups = self._lookup_tokens = 0
        self._hits = self._hit_tokens = 0

    @property
    def statistics(self) -> PrefixStatistics:
        """What the store did so far; from any thread."""
        tree = self._tree
        return PrefixStatistics(
            lookups=self._lookups,
            lookup_tokens=self._lookup_tokens,
            hits=self._hits,
            hit_tokens=self._hit_tokens,
            stored_bytes=tree.nbytes,
            stored_blocks=tree.blocks,
            evicted_blocks=tree.evicted,
            max_bytes=tree.max_bytes,
        )

    def begin(self, ids: Ids) -> "PrefixPath":
        """Begin a text [length]; close() the path that is returned."""
        return PrefixPath(self._tree, ids)

    def count(self, length: int, reused: int) -> None:
        """Count a prompt that was looked up, and how many of its tokens are not read again."""
        self._lookups += 1
        self._lookup_tokens += length
        self._hits += reused > 0
        self._hit_tokens += reused


class PrefixPath:
    """A text that is read: its blocks that are stored, from the first on.

    The last of them is pinned, so that they all stay until close().
    """

    def __init__(self, tree: PrefixTree, ids: Ids) -> None:
        self._tree = tree
        self._ids = np.ascontiguousarray(ids, np.int64)
        self._blocks: list[PrefixBlock] = tree.match(self._ids)
        self._end = self._blocks[-1] if self._blocks else tree.root
        self._is_open = True
        tree.pin(self._end)

    @property
    def known(self) -> int:
        """How many of the text's first tokens are stored."""
        return len(self._blocks) * BLOCK

    def restore(self, cache: Cache, slot: int, length: int) -> None:
        """Put the first `length` tokens into a slot: whole blocks, of those that are known."""
        blocks = [block.rows for block in self._blocks[: length // BLOCK]]
        cache.restore(slot, blocks, length)

    def extend(self, cache: Cache, slot: int) -> None:
        """Store what a slot holds of the text beyond what is known, as far as it can be."""
        length = min(int(cache.lengths[slot]), len(self._ids))
        first_kept = 0 if cache.window is None else int(cache.lengths[slot]) - cache.window
        while self._is_open and self.known + BLOCK <= length:
            start, stop = self.known, self.known + BLOCK
            tokens = self._ids[start:stop]
            block = self._tree.find(self._end, tokens)
            if block is None and start >= first_kept:
                rows = _copied(cache, slot, start, stop)
                block = self._tree.insert(self._end, tokens, rows)
            if block is None:  # windows have dropped rows, or there is no room
                self.close()
                return
            self._tree.pin(block)
            self._tree.unpin(self._end)
            self._blocks.append(block)
            self._end = block

    def close(self) -> None:
        """Store no more; the blocks may go when room is needed."""
        if self._is_open:
            self._is_open = False
            self._tree.unpin(self._end)


def _copied(cache: Cache, slot: int, start: int, stop: int) -> BlockRows:
    return np.stack(cache.view_rows(slot, start, stop))
